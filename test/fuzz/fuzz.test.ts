/** A taste of `npm run fuzz`, always the same one: that the fuzzer itself works, and finds what is wrong. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nakedAddresses, strictAddresses } from './readers.ts';
import { Find, mustHold, target } from './target.ts';
import { TARGETS } from './targets.ts';

describe('the targets', () => {
  it.each(TARGETS.map((one) => [one.name, one] as const))('%s', async (_name, { run, share }) => {
    await expect(run(Math.ceil(2_000 * share), 5321)).resolves.toBeUndefined();
  });

  it('are given all the inputs there are', () => {
    expect(TARGETS.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 10);
  });
});

describe('a find', () => {
  it('is shrunk to a test case', async () => {
    const holds = (text: string, list: readonly number[]): void =>
      mustHold(list.length < 2 || !text.includes('\u0085'), 'too much');
    const texts = fc.string({ unit: fc.constantFrom('a', '\u0085') });
    const find = target('a name', 1, 'nameHolds', [texts, fc.array(fc.nat())], holds).run(1_000, 1);
    await expect(find).rejects.toThrow(Find);
    await expect(find).rejects.toThrow('too much');
    await expect(find).rejects.toThrow('it("a name", async () => {\n  await nameHolds("\\u0085", [0,0]);\n});');
  });
});

describe('the strict reader', () => {
  it.each([
    ['a@x.test', ['a@x.test']],
    [' Ann B. <a@x.test>, "C, D" <"c d"@x.test> (x (y)),e@[127.0.0.1]', ['a@x.test', '"c d"@x.test', 'e@[127.0.0.1]']],
    ['team: a@x.test, <b@x.test>;, none:;', ['a@x.test', 'b@x.test']],
  ])('reads %s', (text, addresses) => {
    expect(strictAddresses(text)).toEqual(addresses);
  });

  it.each([
    '',
    'a',
    'a@x.test b',
    'a@x.test,',
    'A, B <a@x.test>',
    '<a@x.test',
    'a@b@x.test',
    '"a <a@x.test>',
    'a@x.test.',
  ])('does not read %j', (text) => {
    expect(strictAddresses(text)).toBeUndefined();
  });
});

it('the reader of whatever looks like an address skips quoted text', () => {
  expect(nakedAddresses('"a@x.test" <b@x.test> c@x.test, (d@x.test)')).toEqual(['b@x.test', 'c@x.test', 'd@x.test']);
});
