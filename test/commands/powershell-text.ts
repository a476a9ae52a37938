/**
 * A reader of PowerShell's quoting (about_Quoting_Rules, about_Comments), as far as the scripts of set-up use it: strings in
 * single and double quotes, `$( )` in the latter, comments, brackets. Throws an Error with the line where one does not end.
 */

export interface Token {
  readonly kind: 'code' | 'string';
  /** Of a string: what it holds. Of code: one bracket, or a run of anything else. */
  readonly text: string;
}

const SINGLE = "'\u2018\u2019\u201a\u201b";
const DOUBLE = '"\u201c\u201d\u201e';
const PAIRS: Readonly<Record<string, string>> = { ')': '(', '}': '{', ']': '[' };

export function tokensOf(source: string): readonly Token[] {
  const tokens: Token[] = [];
  const open: string[] = [];
  let at = 0;
  const fail = (what: string): never => {
    throw new Error(`line ${source.slice(0, at).split('\n').length}: ${what}`);
  };
  /** @param until the bracket that ends it, or none at the end */
  const code = (until: string): void => {
    const depth = open.length;
    let run = '';
    const flush = (): void => {
      if (run.trim() !== '') tokens.push({ kind: 'code', text: run.trim() });
      run = '';
    };
    for (;;) {
      const character = source[at];
      if (character === undefined) {
        if (until !== '' || open.length > 0) fail(`a bracket is open: ${open.join(' ')}`);
        return flush();
      }
      if (until !== '' && character === until && open.length === depth) {
        at++;
        return flush();
      }
      if (character === '#' && /^$|[\s({;|]/.test(source[at - 1] ?? '')) {
        while (at < source.length && source[at] !== '\n') at++;
      } else if (SINGLE.includes(character)) {
        flush();
        single();
      } else if (DOUBLE.includes(character)) {
        flush();
        double();
      } else if ('({['.includes(character)) {
        flush();
        open.push(character);
        tokens.push({ kind: 'code', text: character });
        at++;
      } else if (Object.hasOwn(PAIRS, character)) {
        flush();
        if (open.pop() !== PAIRS[character]) fail(`${character} closes nothing`);
        tokens.push({ kind: 'code', text: character });
        at++;
      } else {
        run += character;
        at += 1;
      }
    }
  };
  const single = (): void => {
    let text = '';
    at++;
    for (;;) {
      const character = source[at];
      if (character === undefined || character === '\n') return fail('a string does not end');
      at++;
      if (!SINGLE.includes(character)) text += character;
      else if (SINGLE.includes(source[at] ?? ' ')) text += source[at++];
      else break;
    }
    tokens.push({ kind: 'string', text });
  };
  const double = (): void => {
    let text = '';
    at++;
    for (;;) {
      const character = source[at];
      if (character === undefined || character === '\n') return fail('a string does not end');
      at++;
      if (character === '`') text += source[at++];
      else if (character === '$' && source[at] === '(') {
        at++;
        code(')');
      } else if (DOUBLE.includes(character)) break;
      else text += character;
    }
    tokens.push({ kind: 'string', text });
  };
  code('');
  return tokens;
}
