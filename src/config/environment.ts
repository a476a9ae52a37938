/** `${NAME}` in a value stands for an environment variable; `$${` stands for `${` itself. */
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Replaces every reference. What is put in is not looked at again. */
export function fillIn(text: string, environment: Environment): Value<string> {
  let problem: Value<never> | undefined;
  const filled = text.replace(/\$\$\{|\$\{([^}]*)(\}?)/g, (whole, name: string | undefined, end: string) => {
    if (name === undefined) return '${';
    if (end === '' || !/^[A-Za-z_]\w*$/.test(name)) {
      problem ??= bad('has a ${ that does not begin a ${NAME}', 'write $${ if the two characters are meant');
      return whole;
    }
    const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
    if (value === undefined) problem ??= bad(`the environment variable ${name} is not set`);
    else if (value === '') problem ??= bad(`the environment variable ${name} is empty`);
    return value ?? '';
  });
  return problem ?? good(filled);
}
