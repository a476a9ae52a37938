/** A taste of `npm run fuzz`, always the same one: that the fuzzer itself works. */
import { expect, it } from 'vitest';
import { DIALOG } from './dialog.ts';
import { TARGETS } from './targets.ts';

it.each([...TARGETS, DIALOG].map((target) => [target.name, target] as const))('%s', async (_name, target) => {
  await expect(target.run(Math.ceil(2_000 * target.share), 5321)).resolves.toBeUndefined();
});

it('covers all inputs it is asked for', () => {
  expect([...TARGETS, DIALOG].reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
});
