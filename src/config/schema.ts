/**
 * The words in which settings.ts describes the settings, and what is derived from it: the type, a tree to read a file
 * by, and a JSON Schema for editors. Nothing here fails. The only file that knows zod.
 */
import { z } from 'zod';
import { suggest } from '../mail/suggest.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** What a setting becomes when it is read. */
export type Parsed<S extends z.ZodType> = z.output<S>;

interface Note {
  readonly description: string;
  /** What kind of value it is, for the reference. */
  readonly kind: string;
  /** Regular expression of the text, for editors. */
  readonly pattern?: string;
  /** What the default is, where it is no constant. */
  readonly otherwise?: string;
  /** Entries that a list needs. */
  readonly atLeast?: number;
}

const notes = z.registry<Note, z.core.$ZodType>();

/** `${NAME}` may stand for a number, a word or a truth value too. */
const FROM_ENVIRONMENT = { type: 'string', pattern: String.raw`\$\{` } as const;

export function section<S extends z.core.$ZodLooseShape>(description: string, keys: S) {
  return z.strictObject(keys).register(notes, { description, kind: 'section' });
}

/** A section with all the keys of another beside its own. */
export function sectionWith<S extends z.core.$ZodLooseShape, B extends z.core.$ZodLooseShape>(
  description: string,
  keys: S,
  base: z.ZodObject<B>,
) {
  return section(description, { ...keys, ...base.shape });
}

export function list<S extends z.ZodType>(description: string, item: S, atLeast = 0) {
  return z.array(item).min(atLeast).register(notes, { description, kind: 'list', atLeast });
}

/** A value read from its text by a function. */
export function text<T>(note: Note, read: (text: string) => Value<T>) {
  return z
    .string()
    .transform((input, context): T => {
      const value = read(input);
      if (value.ok) return value.value;
      context.issues.push({ code: 'custom', message: value.problem, input: '', params: { hint: value.hint } });
      return z.NEVER;
    })
    .register(notes, note);
}

export function integer(description: string, least: number, most: number) {
  const error = `must be a whole number from ${least} to ${most}`;
  const kind = `whole number, ${least} to ${most}`;
  return z.int(error).min(least, error).max(most, error).register(notes, { description, kind });
}

/** A number of at least one, or the word `unlimited`, which is read as Infinity. */
export function limit(description: string, most: number) {
  const error = `must be a whole number from 1 to ${most}, or unlimited`;
  return z
    .union([z.int(error).min(1, error).max(most, error), z.literal('unlimited').transform(() => Infinity)], error)
    .register(notes, { description, kind: `whole number, 1 to ${most}, or \`unlimited\`` });
}

export function flag(description: string) {
  return z.boolean('must be true or false').register(notes, { description, kind: '`true` or `false`' });
}

export function choice<const W extends readonly [string, ...string[]]>(description: string, words: W) {
  const error = (input: unknown): string => {
    const near = typeof input === 'string' && /^[a-z]+$/i.test(input) ? suggest(input, words) : undefined;
    const wanted = words.length === 1 ? `must be ${words[0]}` : `must be one of ${words.join(', ')}`;
    return near === undefined || words.length === 1 ? wanted : `${wanted}; did you mean ${near}?`;
  };
  const kind = words.map((word) => `\`${word}\``).join(', ');
  return z.enum(words, { error: (issue) => error(issue.input) }).register(notes, { description, kind });
}

export function optional<S extends z.ZodType>(schema: S) {
  return schema.optional();
}

/** With a default, given as a user would write it. */
export function orElse<S extends z.ZodType>(schema: S, input: z.input<S>) {
  return schema.prefault(input);
}

/** A setting as the reader of a file and the reference need it. */
export type Shape =
  | { readonly kind: 'section'; readonly keys: ReadonlyMap<string, Setting> }
  | { readonly kind: 'list'; readonly item: Shape; readonly atLeast: number }
  | {
      readonly kind: 'value';
      /** What a text of the file is turned into before read() sees it, if it looks like it. */
      readonly reads: 'integer' | 'flag' | 'text';
      read(input: unknown): Value<unknown>;
    };

export interface Setting {
  readonly shape: Shape;
  readonly required: boolean;
  /** As a user would write it. */
  readonly fallback: unknown;
  readonly description: string;
  readonly kind: string;
  readonly otherwise: string | undefined;
}

export function settingOf(schema: z.ZodType): Setting {
  if (schema instanceof z.ZodPrefault) {
    return { ...settingOf(schema.unwrap() as z.ZodType), required: false, fallback: schema.def.defaultValue };
  }
  if (schema instanceof z.ZodOptional) return { ...settingOf(schema.unwrap() as z.ZodType), required: false };
  const note = notes.get(schema);
  if (note === undefined) throw new Error('a schema without a note');
  const { description, kind, otherwise } = note;
  return { shape: shapeOf(schema), required: true, fallback: undefined, description, kind, otherwise };
}

function shapeOf(schema: z.ZodType): Shape {
  if (schema instanceof z.ZodObject) {
    const keys = Object.entries(schema.shape).map(([key, inner]) => [key, settingOf(inner as z.ZodType)] as const);
    return { kind: 'section', keys: new Map(keys) };
  }
  if (schema instanceof z.ZodArray) {
    const item = settingOf(schema.element as z.ZodType).shape;
    return { kind: 'list', item, atLeast: notes.get(schema)?.atLeast ?? 0 };
  }
  const reads = schema instanceof z.ZodBoolean ? 'flag' : isNumeric(schema) ? 'integer' : 'text';
  return { kind: 'value', reads, read: (input) => readWith(schema, input) };
}

function isNumeric(schema: z.ZodType): boolean {
  if (schema instanceof z.ZodUnion) return schema.options.some((option) => isNumeric(option as z.ZodType));
  return schema instanceof z.ZodNumber;
}

function readWith(schema: z.ZodType, input: unknown): Value<unknown> {
  const read = schema.safeParse(input);
  if (read.success) return good(read.data);
  const issue = read.error.issues[0];
  const hint: unknown = issue?.code === 'custom' ? issue.params?.['hint'] : undefined;
  return bad(issue?.message ?? 'cannot be read', typeof hint === 'string' ? hint : undefined);
}

/** JSON Schema (draft 7, which editors know best) of a configuration file. */
export function jsonSchemaOf(schema: z.ZodType, id: { readonly title: string; readonly description: string }): unknown {
  const json = z.toJSONSchema(schema, {
    target: 'draft-7',
    io: 'input',
    override({ zodSchema, jsonSchema }) {
      const note = notes.get(zodSchema);
      if (note === undefined) return;
      jsonSchema.description = note.description;
      if (note.pattern !== undefined) jsonSchema.pattern = `${note.pattern}|${FROM_ENVIRONMENT.pattern}`;
      if (['section', 'list'].includes(note.kind) || (jsonSchema.type === 'string' && jsonSchema.enum === undefined))
        return;
      const { description: _description, default: _default, ...rest } = jsonSchema;
      for (const key of Object.keys(rest)) delete jsonSchema[key as keyof typeof rest];
      jsonSchema.anyOf = [...(rest.anyOf ?? [rest as z.core.JSONSchema.JSONSchema]), FROM_ENVIRONMENT];
    },
  });
  return { ...json, ...id };
}
