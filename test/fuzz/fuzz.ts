/**
 * `npm run fuzz [-- COUNT [SEED [NAME]]]`: that many inputs, 200,000 if none is named, spread over all targets, or those
 * whose name begins so. Prints the seed, a line a target, and for a find the shrunk input as a test case; then the exit
 * code is 1.
 */
import { TARGETS } from './targets.ts';

const [total = 200_000, seed = Math.floor(Math.random() * 2 ** 31)] = process.argv.slice(2, 4).map(Number);
const beginning = process.argv[4] ?? '';
const say = (text: string): void => void process.stdout.write(`${text}\n`);
if (!(total > 0) || !Number.isInteger(seed)) {
  say('usage: npm run fuzz [-- COUNT [SEED [NAME]]]');
  process.exit(64);
}
say(`seed ${seed}`);
const targets = TARGETS.filter(({ name }) => name.startsWith(beginning));
const shares = targets.reduce((sum, { share }) => sum + share, 0);
let failed = 0;
let tried = 0;
process.on('unhandledRejection', (error) => {
  say(`unhandled rejection: ${error instanceof Error ? error.stack : String(error)}`);
  process.exit(1);
});
const begun = performance.now();
for (const { name, share, run } of targets) {
  const count = Math.ceil((total * share) / shares);
  const start = performance.now();
  const line = (what: string): string => {
    const seconds = (performance.now() - start) / 1000;
    return `${name.padEnd(32)}${String(count).padStart(8)} inputs ${seconds.toFixed(1).padStart(7)} s  ${what}`;
  };
  try {
    await run(count, seed);
    tried += count;
    say(line('ok'));
  } catch (error) {
    failed++;
    say(`${line('FOUND')}\n${error instanceof Error ? error.message : String(error)}`);
  }
}
say(`${tried} inputs, ${failed} finds, ${((performance.now() - begun) / 1000).toFixed(0)} s`);
process.exit(failed === 0 && targets.length > 0 ? 0 : 1);
