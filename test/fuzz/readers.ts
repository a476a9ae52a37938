/**
 * Readers of header blocks that share no code with the gateway: by different ideas of where a line ends, by the grammar of
 * RFC 5322 section 3.4 to the letter, and by anything that looks like an address.
 */

export interface Field {
  /** Lower case. */
  readonly name: string;
  /** Unfolded. */
  readonly value: string;
}

const LINE_ENDS = { crlf: /\r\n/, lf: /\r?\n/, any: /\r\n|\r|\n/ };
export type LineEnd = keyof typeof LINE_ENDS;

/** The fields up to the first empty line; a line that is no field has the name ''. */
export function fieldsOf(block: Buffer, lineEnd: LineEnd): Field[] {
  const fields: { name: string; value: string }[] = [];
  for (const line of block.toString('utf8').split(LINE_ENDS[lineEnd])) {
    if (line === '') break;
    const last = fields.at(-1);
    if (/^[ \t]/.test(line) && last !== undefined) {
      last.value += line;
      continue;
    }
    const [, name = '', value = line] = /^([!-9;-~]+)[ \t]*:(.*)$/s.exec(line) ?? [];
    fields.push({ name: name.toLowerCase(), value });
  }
  return fields;
}

const ATOM = /[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\u{10ffff}]+/uy;
/** With dots wherever they are: some providers have given out such addresses. */
const LOCAL = /[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\u0080-\u{10ffff}]+/uy;
const QUOTED = /"(?:[^"\\\p{Cc}]|\\[^\p{Cc}]|\t)*"/uy;
const LITERAL = /\[[!-Z^-~]*\]/uy;

/** The addr-specs of an address-list (RFC 5322 section 3.4, RFC 6532); undefined where it is none. Dots in phrases: section 4.1. */
export function strictAddresses(value: string): string[] | undefined {
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(value)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const takeSign = (sign: string): boolean => {
    skip();
    if (value[at] !== sign) return false;
    at++;
    return true;
  };
  /** Blanks and comments. */
  const skip = (): void => {
    for (let depth = 0; at < value.length; at++) {
      const one = value[at];
      if (one === '(') depth++;
      else if (one === ')' && depth > 0) depth--;
      else if (one === '\\' && depth > 0) at++;
      else if (depth === 0 && one !== ' ' && one !== '\t') return;
    }
  };
  const dotted = (): string | undefined => {
    skip();
    let text = take(ATOM);
    while (text !== undefined && value[at] === '.') {
      at++;
      const more = take(ATOM);
      text = more === undefined ? undefined : `${text}.${more}`;
    }
    return text;
  };
  const addrSpec = (): string | undefined => {
    skip();
    const local = value[at] === '"' ? take(QUOTED) : take(LOCAL);
    if (local === undefined || !takeSign('@')) return undefined;
    skip();
    const domain = value[at] === '[' ? take(LITERAL) : dotted();
    return domain === undefined ? undefined : `${local}@${domain}`;
  };
  const isPhrase = (): boolean => {
    let words = 0;
    for (;;) {
      skip();
      if (take(ATOM) !== undefined || take(QUOTED) !== undefined) words++;
      else if (value[at] === '.' && words > 0) at++;
      else return words > 0;
    }
  };
  const mailbox = (): string | undefined => {
    const start = at;
    const bare = addrSpec();
    skip();
    if (bare !== undefined && (at === value.length || value[at] === ',' || value[at] === ';')) return bare;
    at = start;
    isPhrase();
    if (!takeSign('<')) return undefined;
    const inside = addrSpec();
    return inside !== undefined && takeSign('>') ? inside : undefined;
  };

  const found: string[] = [];
  for (;;) {
    const start = at;
    if (isPhrase() && takeSign(':')) {
      if (!takeSign(';')) {
        do {
          const one = mailbox();
          if (one === undefined) return undefined;
          found.push(one);
        } while (takeSign(','));
        if (!takeSign(';')) return undefined;
      }
    } else {
      at = start;
      const one = mailbox();
      if (one === undefined) return undefined;
      found.push(one);
    }
    skip();
    if (at === value.length) return found;
    if (!takeSign(',')) return undefined;
  }
}

/** Whatever looks like an address outside of quoted text. */
export function nakedAddresses(value: string): string[] {
  return value.replace(/"(?:[^"\\]|\\.)*"/g, '"').match(/[^\s<>,;:"()\\]+@[^\s<>,;:"()\\]+/g) ?? [];
}
