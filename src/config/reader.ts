/**
 * Reads a document by the tree of settings: unknown, double and missing keys, texts filled in from the environment,
 * numbers and truth values made of texts, each value checked by itself. Every fault is reported; what is faulty is
 * absent from the result, so that the rest can still be checked. Never fails.
 */
import type { Tree } from './document.ts';
import type { Environment } from './environment.ts';
import { fillIn } from './environment.ts';
import type { Path, Position } from './fault.ts';
import { pathText } from './fault.ts';
import type { Setting, Shape } from './schema.ts';
import { distance, suggest } from '../mail/suggest.ts';

/** What is left of T when every faulty part is taken out. List entries stay, with what is left of them. */
export type Sound<T> = T extends readonly (infer Item)[]
  ? readonly Sound<Item>[]
  : T extends Plain
    ? { readonly [Key in keyof T]?: Sound<T[Key]> | undefined } | undefined
    : T | undefined;
/** An object of settings: no class instance. */
type Plain = Readonly<Record<string, unknown>> & { readonly reveal?: never };

export type Complain = (at: Position, path: Path, problem: string, hint?: string) => void;

export interface Read {
  readonly value: unknown;
  /** The setting's value, or what is nearest to it: the key of a group, the group it is missing from. */
  locate(path: Path): Position;
  /** The file has the setting, readable or not. */
  wasGiven(path: Path): boolean;
}

export function readTree(root: Tree, setting: Setting, environment: Environment, complain: Complain): Read {
  const places = new Map<string, Position>();
  const reader = new Reader(setting, environment, complain, places);
  const value = reader.read(root, setting.shape, [], { line: 1, column: 1 });
  return {
    value,
    locate(path) {
      for (let length = path.length; length > 0; length--) {
        const at = places.get(pathText(path.slice(0, length)));
        if (at !== undefined) return at;
      }
      return { line: 1, column: 1 };
    },
    wasGiven: (path) => places.has(pathText(path)),
  };
}

type SoundTree = Exclude<Tree, { readonly kind: 'faulty' }>;

/** Stands in for a group that is not there, to find what is missing from it and to fill in defaults. */
const nothing = (at: Position): Tree => ({ kind: 'map', at, entries: [] });

class Reader {
  readonly #root: Setting;
  readonly #environment: Environment;
  readonly #complain: Complain;
  readonly #places: Map<string, Position>;

  constructor(root: Setting, environment: Environment, complain: Complain, places: Map<string, Position>) {
    this.#root = root;
    this.#environment = environment;
    this.#complain = complain;
    this.#places = places;
  }

  /** @param at where a fault of the whole is shown: its key, or its beginning */
  read(tree: Tree, shape: Shape, path: Path, at: Position): unknown {
    if (tree.kind === 'faulty') return undefined;
    switch (shape.kind) {
      case 'section':
        return this.#section(tree, shape, path, at);
      case 'list':
        return this.#list(tree, shape, path, at);
      case 'value':
        return this.#value(tree, shape, path);
    }
  }

  #section(tree: SoundTree, shape: Shape & { kind: 'section' }, path: Path, at: Position): unknown {
    if (tree.kind !== 'map' && !isEmpty(tree)) {
      const keys = [...shape.keys.keys()].slice(0, 3).join(', ');
      this.#complain(
        tree.at,
        path,
        'must be a group of settings',
        `write its settings (${keys}, ...) below it, each as name: value`,
      );
      return undefined;
    }
    const entries = tree.kind === 'map' ? tree.entries : [];
    const seen = new Map<string, Position>();
    const result: Record<string, unknown> = {};
    for (const entry of entries) {
      const before = seen.get(entry.key);
      const setting = shape.keys.get(entry.key);
      if (setting === undefined) {
        this.#unknown(entry.key, entry.at, shape, path);
      } else if (before === undefined) {
        seen.set(entry.key, entry.at);
        const inner = [...path, entry.key];
        this.#places.set(pathText(inner), setting.shape.kind === 'value' ? entry.value.at : entry.at);
        result[entry.key] = this.read(entry.value, setting.shape, inner, entry.at);
      } else {
        this.#complain(entry.at, [...path, entry.key], `is given twice, first in line ${before.line}`);
      }
    }
    for (const [key, setting] of shape.keys) {
      if (!seen.has(key)) result[key] = this.#absent(setting, [...path, key], at);
    }
    return result;
  }

  /** The default of a setting that is not there. */
  #absent(setting: Setting, path: Path, at: Position): unknown {
    if (!setting.required && setting.fallback === undefined) return undefined;
    // What is missing is the settings in the group.
    if (setting.shape.kind === 'section') return this.read(nothing(at), setting.shape, path, at);
    if (setting.required) {
      this.#complain(at, path, 'is missing', `it is required: ${setting.description.split(/[.:] |\.$/)[0]}`);
      return undefined;
    }
    return this.read(asTree(setting.fallback, at), setting.shape, path, at);
  }

  #list(tree: SoundTree, shape: Shape & { kind: 'list' }, path: Path, at: Position): unknown {
    if (tree.kind !== 'list' && !isEmpty(tree)) {
      this.#complain(tree.at, path, 'must be a list', 'write each entry below it as - entry, or all as [entry, entry]');
      return undefined;
    }
    const items = tree.kind === 'list' ? tree.items : [];
    if (items.length < shape.atLeast) {
      this.#complain(at, path, 'has no entry', 'at least one is needed');
      return undefined;
    }
    return items.map((item, index) => {
      const inner = [...path, index];
      this.#places.set(pathText(inner), item.at);
      return this.read(item, shape.item, inner, item.at);
    });
  }

  #value(tree: SoundTree, shape: Shape & { kind: 'value' }, path: Path): unknown {
    if (tree.kind !== 'text') {
      this.#complain(
        tree.at,
        path,
        `must be a single value, not a ${tree.kind === 'list' ? 'list' : 'group of settings'}`,
      );
      return undefined;
    }
    if (isEmpty(tree) || tree.text.trim() === '') {
      this.#complain(tree.at, path, 'has no value', 'give it one, or remove the line');
      return undefined;
    }
    const filled = fillIn(tree.text, this.#environment);
    if (!filled.ok) {
      this.#complain(tree.at, path, filled.problem, filled.hint);
      return undefined;
    }
    if (/^<[^<>]*>$/.test(tree.text.trim())) {
      this.#complain(
        tree.at,
        path,
        'still holds the placeholder of the sample',
        'put your own value in its place, without < and >',
      );
      return undefined;
    }
    const read = shape.read(asMeant(filled.value, shape.reads));
    if (read.ok) return read.value;
    const spoken = shape.reads === 'flag' ? truth(filled.value) : undefined;
    this.#complain(tree.at, path, read.problem, spoken === undefined ? read.hint : `write ${spoken}`);
    return undefined;
  }

  #unknown(key: string, at: Position, shape: Shape & { kind: 'section' }, path: Path): void {
    // Anything that is no name could be a value, even a secret, with a space or line end missing before it.
    if (!/^[A-Za-z][\w-]{0,40}$/.test(key)) {
      const hint =
        key === '<<' ? 'write the settings out' : 'a setting is written name: value, with a space after the colon';
      this.#complain(
        at,
        path,
        key === '<<' ? 'merging (<<) is not supported' : 'holds something that is no name of a setting',
        hint,
      );
      return;
    }
    const known = [...shape.keys.keys()];
    const near = suggest(key, known);
    const elsewhere = groupsWith(this.#root, key);
    // One letter away is a slip; what is further away may be another word, which may have its place elsewhere.
    const isSlip = near !== undefined && distance(key.toLowerCase(), near.toLowerCase()) <= 1;
    // The beginning of a name that is here is meant for it.
    const isBegun = known.some((name) => name.startsWith(key));
    let hint = `there is ${known.join(', ')}`;
    if (elsewhere.length > 0 && !isSlip && !isBegun) hint = `it belongs in ${elsewhere.join(' or ')}`;
    else if (near !== undefined) hint = `did you mean ${near}?`;
    this.#complain(at, [...path, key], 'there is no such setting', hint);
  }
}

/** Nothing, `~` or `null`, without quotes. */
function isEmpty(tree: SoundTree): boolean {
  return tree.kind === 'text' && tree.plain && ['', '~', 'null'].includes(tree.text);
}

function asMeant(text: string, reads: 'integer' | 'flag' | 'text'): unknown {
  switch (reads) {
    case 'integer':
      return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
    case 'flag':
      return /^(true|false)$/i.test(text) ? text.toLowerCase() === 'true' : text;
    case 'text':
      return text;
  }
}

function truth(text: string): boolean | undefined {
  if (/^(yes|y|on|1)$/i.test(text)) return true;
  return /^(no|n|off|0)$/i.test(text) ? false : undefined;
}

/** A default as if it stood in the file. */
function asTree(value: unknown, at: Position): Tree {
  if (Array.isArray(value)) return { kind: 'list', at, items: value.map((item) => asTree(item, at)) };
  return { kind: 'text', at, text: String(value), plain: true };
}

/** The groups that have a setting of this name, as paths; a list's entries as `listeners[]`. */
function groupsWith(setting: Setting, key: string, path = ''): string[] {
  const { shape } = setting;
  const section = shape.kind === 'list' ? shape.item : shape;
  if (section.kind !== 'section') return [];
  const here = shape.kind === 'list' ? `${path}[]` : path;
  return [
    ...(section.keys.has(key) ? [here === '' ? 'the top level' : here] : []),
    ...[...section.keys].flatMap(([name, inner]) => groupsWith(inner, key, here === '' ? name : `${here}.${name}`)),
  ];
}
