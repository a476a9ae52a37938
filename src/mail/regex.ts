/**
 * Regular expressions of the configuration, looked for in text that anybody can send: RE2, whose time grows with the length
 * of the text and no faster, whatever the expression (no back-references, no look-around). The only file that knows re2js.
 */
import { RE2JS, RE2JSSyntaxException } from 're2js';

export interface Regex {
  /** Every match that is not empty, from left to right; of each the whole and its groups, '' for one that took no part. */
  matches(text: string): readonly (readonly string[])[];
  /** Capturing groups. */
  readonly groups: number;
}

/** Upper and lower case are the same. @returns a sentence on what is wrong with it */
export function regex(pattern: string): Regex | string {
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern, RE2JS.CASE_INSENSITIVE);
  } catch (error) {
    if (error instanceof RE2JSSyntaxException) return error.getDescription();
    throw error;
  }
  return {
    groups: compiled.groupCount(),
    matches(text) {
      const found: string[][] = [];
      const matcher = compiled.matcher(text);
      while (matcher.find()) {
        const groups = Array.from({ length: matcher.groupCount() + 1 }, (_, index) => matcher.group(index) ?? '');
        if (groups[0] !== '') found.push(groups);
      }
      return found;
    },
  };
}
