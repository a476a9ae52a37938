/** What became of reading one value. A problem never quotes the value: it could be a secret in the wrong place. */

export type Value<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      /** What is wrong, as the rest of a sentence that begins with the setting's name. */
      readonly problem: string;
      /** What to do. */
      readonly hint?: string;
    };

export function good<T>(value: T): Value<T> {
  return { ok: true, value };
}

export function bad(problem: string, hint?: string): Value<never> {
  return hint === undefined ? { ok: false, problem } : { ok: false, problem, hint };
}
