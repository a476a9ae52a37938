/**
 * What a thing to be fuzzed is: makes inputs from a seed and throws Find for the first that breaks a promise, shrunk by
 * fast-check, as a test case that can be pasted.
 */
import * as fc from 'fast-check';

export interface Target {
  readonly name: string;
  /** Of all inputs, this share. */
  readonly share: number;
  run(count: number, seed: number): Promise<void>;
}

export class Find extends Error {}

export function mustHold(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(what);
}

/** No input may take longer, milliseconds: a machine busy with other things included. */
const PATIENCE = 5_000;

/**
 * @param call how a test calls `holds`: `headerHolds`, from the file that exports it
 * @param weight inputs in one call of `holds`
 */
export function target<Input extends [unknown, ...unknown[]]>(
  name: string,
  share: number,
  call: string,
  inputs: { [K in keyof Input]: fc.Arbitrary<Input[K]> },
  holds: (...input: Input) => Promise<void> | void,
  weight = 1,
): Target {
  return {
    name,
    share,
    async run(count, seed) {
      const timed = async (input: Input): Promise<void> => {
        const begun = performance.now();
        await holds(...input);
        const took = performance.now() - begun;
        mustHold(took < PATIENCE, `took ${Math.round(took)} ms`);
      };
      const property = fc.asyncProperty(fc.tuple<Input>(...inputs), timed);
      const found = await fc.check(property, { numRuns: Math.ceil(count / weight), seed });
      if (!found.failed) return;
      const [input] = found.counterexample ?? [];
      const error: unknown = found.errorInstance;
      throw new Find(
        [
          `seed ${seed}, path ${found.counterexamplePath}, after ${found.numShrinks} shrinks`,
          error instanceof Error ? (error.stack ?? error.message) : String(error),
          `it(${JSON.stringify(name)}, async () => {`,
          `  await ${call}(${(input ?? []).map((one) => literal(one)).join(', ')});`,
          '});',
        ].join('\n'),
      );
    },
  };
}

/** Of TypeScript; lone surrogates and control characters are escaped. */
function literal(value: unknown): string {
  return (JSON.stringify(value) ?? 'undefined').replace(
    /[\u007f-\uffff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export interface Edit {
  /** Share of the text. */
  readonly at: number;
  readonly drop: number;
  readonly add: string;
}

/** Changes to a text that is sound, so that most of it still is: what random octets never get to. */
export function edits(scraps: readonly string[], most = 5): fc.Arbitrary<Edit[]> {
  return fc.array(
    fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      drop: fc.oneof(fc.constant(0), fc.nat(3), fc.nat(40)),
      add: fc.constantFrom('', ...scraps),
    }),
    { minLength: 1, maxLength: most },
  );
}

export function edited(text: string, list: readonly Edit[]): string {
  return list.reduce((so, { at, drop, add }) => {
    const place = Math.floor(at * so.length);
    return so.slice(0, place) + add + so.slice(place + drop);
  }, text);
}
