/**
 * HTML that cannot forget to escape: whatever goes into the template `markup` is escaped unless it is markup made by it.
 * Attributes are always written in double quotes. Message data goes through `shown`, which makes control characters and
 * marks that change the direction of writing visible. Pure; never fails.
 */

export class Markup {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

/** What may stand in a template: undefined and false leave nothing behind. */
export type Piece = Markup | string | number | false | undefined | readonly Piece[];

export function markup(strings: TemplateStringsArray, ...pieces: readonly Piece[]): Markup {
  return new Markup(strings.map((text, at) => text + (at < pieces.length ? written(pieces[at]) : '')).join(''));
}

function written(piece: Piece): string {
  if (piece === undefined || piece === false) return '';
  if (piece instanceof Markup) return piece.toString();
  if (typeof piece === 'string' || typeof piece === 'number') return escaped(String(piece));
  return piece.map(written).join('');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** What HTML cannot hold (NUL and other controls, halves of surrogate pairs) becomes U+FFFD. */
function escaped(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')
    .replace(/[^\P{Cc}\n\t]|\p{Cs}/gu, '\u{fffd}');
}

/**
 * Controls (C0, C1), format characters (bidi embeddings, overrides, isolates and marks, zero-width ones, tags), line and
 * paragraph separators, halves of surrogate pairs, and what is drawn as nothing at all (Hangul fillers).
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u115f\u1160\u3164\uffa0\u2800]/u;
const EACH_HIDDEN = new RegExp(HIDDEN.source, 'gu');
const EACH_HIDDEN_BUT_LINES = new RegExp(`(?![\\n\\t])${HIDDEN.source}`, 'gu');

function codePoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}

/** Text that came from outside, on one line, isolated from the direction of what stands around it. */
export function shown(text: string, limit = 500): Markup {
  return markup`<bdi>${marked(cut(text, limit), EACH_HIDDEN)}</bdi>`;
}

/** The same for text of several lines. */
export function shownLines(text: string): Markup {
  return marked(text.replace(/\r\n?/g, '\n'), EACH_HIDDEN_BUT_LINES);
}

/** The same where no markup can stand: in attributes and titles. */
export function plain(text: string, limit = 500): string {
  return cut(text, limit).replace(EACH_HIDDEN, (character) => `[${codePoint(character)}]`);
}

function marked(text: string, hidden: RegExp): Markup {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { 0: character, index } of text.matchAll(hidden)) {
    pieces.push(text.slice(at, index), markup`<span class="hidden-character">${codePoint(character)}</span>`);
    at = index + character.length;
  }
  return markup`${[...pieces, text.slice(at)]}`;
}

/** Never in the midst of a surrogate pair. */
function cut(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit).replace(/[\ud800-\udbff]$/, '')}…` : text;
}
