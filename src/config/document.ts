/**
 * A YAML text as a tree of keys and texts with their positions. Every scalar stays the text that was written: what it
 * means is for the setting to say (`minTls: 1.0`, a secret with leading zeros). Only plain YAML is taken: no anchors,
 * aliases, tags or second document. Syntax errors are all reported, in own words: the parser's would quote the file.
 * The only file that knows yaml.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import type { Document, Node, Pair, YAMLError, YAMLMap, YAMLSeq } from 'yaml';
import type { Position } from './fault.ts';

export type Tree =
  | { readonly kind: 'map'; readonly at: Position; readonly entries: readonly Entry[] }
  | { readonly kind: 'list'; readonly at: Position; readonly items: readonly Tree[] }
  /** `plain`: written without quotes. */
  | { readonly kind: 'text'; readonly at: Position; readonly text: string; readonly plain: boolean }
  /** Something whose fault was reported. */
  | { readonly kind: 'faulty'; readonly at: Position };

export interface Entry {
  readonly key: string;
  readonly at: Position;
  readonly value: Tree;
}

export interface SyntaxFault {
  readonly at: Position;
  readonly problem: string;
  readonly hint?: string;
}

/** `root` is absent if the text holds nothing, or has faults that leave its meaning open. */
export interface ParsedText {
  readonly root?: Tree;
  readonly faults: readonly SyntaxFault[];
}

export function parseText(text: string): ParsedText {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    schema: 'failsafe',
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: lines,
    logLevel: 'error',
  });
  const reader = new Reader((offset) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  });
  const errors = syntaxFaults(document, text, reader);
  if (errors.length > 0) return { faults: errors };
  if (document.contents === null) return { faults: [] };
  const root = reader.read(document.contents);
  return { ...(root.kind === 'text' && root.text === '' ? {} : { root }), faults: reader.faults };
}

class Reader {
  readonly faults: SyntaxFault[] = [];
  readonly position: (offset: number) => Position;

  constructor(position: (offset: number) => Position) {
    this.position = position;
  }

  read(node: Node): Tree {
    const at = this.position(node.range?.[0] ?? 0);
    if (isAlias(node)) {
      this.faults.push({ at, problem: 'is an alias (*), which is not supported', hint: QUOTE });
      return { kind: 'faulty', at };
    }
    if (node.tag !== undefined && node.tag !== '') {
      this.faults.push({ at, problem: 'has a tag (!), which is not supported', hint: QUOTE });
    }
    if ('anchor' in node && node.anchor !== undefined) {
      this.faults.push({ at, problem: 'has an anchor (&), which is not supported', hint: QUOTE });
    }
    if (isMap<Node, Node | null>(node)) return { kind: 'map', at, entries: this.#entries(node) };
    if (isSeq<Node>(node)) return { kind: 'list', at, items: this.#items(node) };
    const text = isScalar(node) ? String(node.value ?? '') : '';
    return { kind: 'text', at, text, plain: isScalar(node) && node.type === 'PLAIN' };
  }

  #entries(map: YAMLMap<Node, Node | null>): Entry[] {
    const entries: Entry[] = [];
    for (const { key, value } of map.items as Pair<Node | null, Node | null>[]) {
      const at = this.position(key?.range?.[0] ?? map.range?.[0] ?? 0);
      if (!isScalar(key)) {
        this.faults.push({ at, problem: 'a list or map stands where the name of a setting should be' });
        continue;
      }
      // `{ a }` has no value at all, `a:` has an empty one.
      entries.push({
        key: String(key.value ?? ''),
        at,
        value: value ? this.read(value) : { kind: 'text', at, text: '', plain: true },
      });
    }
    return entries;
  }

  #items(list: YAMLSeq<Node>): Tree[] {
    return list.items.map((item) => this.read(item));
  }
}

const QUOTE = 'write the value itself; a text that begins with *, & or ! belongs in quotes';

/** One a line: what follows on the same line is most often a consequence. */
function syntaxFaults(document: Document.Parsed, text: string, reader: Reader): SyntaxFault[] {
  const faults = new Map<number, SyntaxFault>();
  for (const error of document.errors) {
    const offset = error.code === 'MISSING_CHAR' ? (openQuote(document, error.pos[0]) ?? error.pos[0]) : error.pos[0];
    const at = reader.position(offset);
    if (faults.has(at.line)) continue;
    const line = text.split(/\r?\n/)[at.line - 1] ?? '';
    faults.set(at.line, { at, ...explain(error, line, offset !== error.pos[0]) });
  }
  return [...faults.values()];
}

/** Where the quote was opened whose end is missing. */
function openQuote(document: Document.Parsed, end: number): number | undefined {
  const find = (node: unknown): number | undefined => {
    if (isMap<Node, Node | null>(node))
      return node.items.map((pair) => find(pair.key) ?? find(pair.value)).find((at) => at !== undefined);
    if (isSeq(node)) return node.items.map((item) => find(item)).find((at) => at !== undefined);
    if (!isScalar(node) || (node.type !== 'QUOTE_DOUBLE' && node.type !== 'QUOTE_SINGLE')) return undefined;
    const [from = 0, to = 0] = node.range ?? [];
    return from < end && end <= to ? from : undefined;
  };
  return find(document.contents);
}

function explain({ code, message }: YAMLError, line: string, unclosed: boolean): { problem: string; hint?: string } {
  // Its message is looked at and never shown.
  const inBrackets = message.startsWith('Flow ');
  if (/\$\{\w*\}/.test(line) && /[{[].*\$\{/.test(line) && code !== 'TAB_AS_INDENT') {
    return { problem: 'this is not valid YAML', hint: 'inside { } or [ ] write "${NAME}" in quotes' };
  }
  switch (code) {
    case 'TAB_AS_INDENT':
      return { problem: 'the line is indented with a tab', hint: 'use spaces' };
    case 'BAD_INDENT':
      if (inBrackets) return { problem: 'a { or [ is opened and not closed by its } or ]' };
      return {
        problem: 'the indentation does not fit the lines above',
        hint: 'settings of one group start in the same column',
      };
    case 'MISSING_CHAR':
      if (unclosed) return { problem: 'a quote is opened here and never closed' };
      return {
        problem: 'something is missing here or in the line above',
        hint: 'a colon, a comma, a bracket, a quote, or the right indentation',
      };
    case 'BAD_SCALAR_START':
      return { problem: 'a value cannot begin with this character', hint: 'put the value in quotes' };
    case 'BAD_DQ_ESCAPE':
      return { problem: 'in double quotes a backslash begins an escape, and this is none', hint: 'use single quotes' };
    case 'BLOCK_AS_IMPLICIT_KEY':
      return { problem: 'a second ": " stands in one line', hint: 'put a value that holds ": " in quotes' };
    case 'MULTILINE_IMPLICIT_KEY':
      return {
        problem: 'this is no setting',
        hint: 'a setting is written name: value, a list entry - value, each with the space',
      };
    case 'MULTIPLE_DOCS':
      return {
        problem: 'a second document begins here',
        hint: 'everything belongs in one; remove the line with --- or ...',
      };
    case 'ALIAS_PROPS':
    case 'BAD_ALIAS':
    case 'MULTIPLE_ANCHORS':
    case 'MULTIPLE_TAGS':
    case 'BAD_PROP_ORDER':
    case 'TAG_RESOLVE_FAILED':
      return { problem: 'anchors (&), aliases (*) and tags (!) are not supported', hint: QUOTE };
    default:
      return { problem: 'this is not valid YAML', hint: 'a value with special characters belongs in quotes' };
  }
}
