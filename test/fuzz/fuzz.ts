/**
 * `npm run fuzz [-- COUNT [SEED]]`: that many inputs, 200,000 if none is named, spread over all targets. Prints a line a
 * target; for a find the shrunk input with its seed, and exit code 1.
 */
import { DIALOG } from './dialog.ts';
import { TARGETS } from './targets.ts';

const total = Number(process.argv[2] ?? 200_000);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`seed ${seed}\n`);
const targets = [...TARGETS, DIALOG];
let failed = 0;
let tried = 0;
process.on('unhandledRejection', (error) => {
  process.stdout.write(`unhandled rejection: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
});
for (const { name, share, run } of targets) {
  const count = Math.ceil(total * share);
  const begun = performance.now();
  try {
    await run(count, seed);
    tried += count;
    const seconds = (performance.now() - begun) / 1000;
    process.stdout.write(`${name.padEnd(32)}${String(count).padStart(8)} inputs ${seconds.toFixed(1).padStart(7)} s\n`);
  } catch (error) {
    failed++;
    process.stdout.write(`${name.padEnd(32)}FOUND\n${error instanceof Error ? error.message : String(error)}\n`);
    const cause = error instanceof Error ? error.cause : undefined;
    if (cause instanceof Error) process.stdout.write(`${cause.stack ?? cause.message}\n`);
  }
}
process.stdout.write(`${tried} inputs, ${failed} finds\n`);
process.exit(failed === 0 ? 0 : 1);
