/**
 * PowerShell text with values in it that come from outside. Whatever a value holds, it stays one string: nothing in it is
 * run, replaced or ends the string. Pure; throws (a bug) for what no line can hold.
 */

/**
 * A string in single quotes, in which PowerShell replaces nothing. Four typographic quotation marks end such a string as
 * well as the apostrophe does (about_Quoting_Rules); each is written twice.
 */
export function quoted(text: string): string {
  if (/[\p{Cc}\u2028\u2029]/u.test(text)) throw new Error('a control character in a PowerShell string');
  return `'${text.replace(/['\u2018\u2019\u201a\u201b]/g, '$&$&')}'`;
}

/** An array of strings, also of one or of none. */
export function quotedList(texts: readonly string[]): string {
  return `@(${texts.map(quoted).join(', ')})`;
}

/** What follows a # on a line: one line. */
export function comment(text: string): string {
  return `# ${text.replace(/[\p{C}\u2028\u2029]+/gu, ' ')}`;
}
