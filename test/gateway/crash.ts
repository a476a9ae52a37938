/**
 * kill -9, again and again, under load, while Exchange fails in every way the sandbox knows for about 30 % of its
 * requests, and Entra ID now and then. To the message: what got a 250 is delivered, bounced or parked, its octets
 * unchanged, each bounced one with exactly one notice, and none delivered twice; only a message in one step of which no
 * copy is kept (saveToSentItems: false) may be, once, and only after an attempt whose answer never came. Three gateways at a time,
 * each with its own sandbox and spool, so that two cores are busy while one starts.
 *
 * Usage: crash.ts [ROUNDS [SEED]]. Prints a table; exit code 1 if the books do not balance; the spools are kept then.
 * The order of events is the machine's, so a seed repeats the choices, not the run.
 */
import type { LineOptions } from './crash-line.ts';
import { Line } from './crash-line.ts';
import { KINDS } from './crash-faults.ts';

const rounds = Number(process.argv[2] ?? 500);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));

/** mulberry32 */
function chance(from: number): () => number {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const LINES: readonly LineOptions[] = [
  { name: 'in order', saveToSentItems: true, catchUp: 'inOrder', precious: 0 },
  { name: 'parallel', saveToSentItems: true, catchUp: 'parallel', precious: 0.4 },
  { name: 'SendOnly', saveToSentItems: false, catchUp: 'parallel', precious: 0.4 },
];

const print = (what: string, values: readonly (number | string)[]): void =>
  void process.stdout.write(`${what.padEnd(52)}${values.map((value) => String(value).padStart(10)).join('')}\n`);
const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

const begin = Date.now();
const random = chance(seed);
const lines = await Promise.all(LINES.map((options) => Line.start(options, chance(random() * 2 ** 32))));
let left = rounds;
// Shared out to who is free, so that the lines end together.
const exits = await Promise.all(
  lines.map(async (line) => {
    while (left-- > 0) await line.round();
    return await line.drain();
  }),
);
const books = lines.map((line) => line.books());

const row = (what: string, of: (n: number) => number): number => {
  const values = lines.map((_, n) => of(n));
  print(what, [...values, sum(values)]);
  return sum(values);
};
print(`seed ${seed}`, [...lines.map(({ name }) => name), 'all']);
row('rounds of kill -9', (n) => lines[n]?.rounds ?? 0);
row('messages begun', (n) => lines[n]?.sent ?? 0);
row('  in two steps', (n) => lines[n]?.precious.size ?? 0);
for (const what of Object.keys(books[0]?.rows ?? {})) row(what, (n) => books[n]?.rows[what] ?? 0);
let wrong = 0;
for (const what of Object.keys(books[0]?.wrong ?? {}))
  wrong += row(`! ${what}`, (n) => books[n]?.wrong[what]?.length ?? 0);
/** Of what leaves a trace: a copy, or a draft that was used up. */
const doubled = books.map(({ doubled: ids }, n) =>
  ids.filter((id) => LINES[n]?.saveToSentItems === true || lines[n]?.precious.has(id) === true),
);
wrong += row('! delivered twice although it leaves a trace', (n) => doubled[n]?.length ?? 0);
wrong += row('! bugs reported', (n) => lines[n]?.bugs.length ?? 0);
wrong += row('! last stop not clean', (n) => (exits[n] === 0 ? 0 : 1));
const requests = row('requests to Exchange', (n) => lines[n]?.requests ?? 0);
const hit = row('of which went wrong', (n) => sum([...(lines[n]?.hits.values() ?? [])]));
for (const kind of KINDS.values()) row(`  ${kind}`, (n) => lines[n]?.hits.get(kind) ?? 0);
print('seconds', [Math.round((Date.now() - begin) / 1000)]);

const part = hit / requests;
// What a short run may miss, a whole one may not.
const isWeak =
  part < 0.2 || (rounds >= 500 && [...KINDS.values()].some((kind) => lines.every(({ hits }) => !hits.has(kind))));
if (isWeak) process.stdout.write('too little went wrong to prove anything\n');
for (const [n, line] of lines.entries()) {
  for (const bug of line.bugs) process.stdout.write(`${JSON.stringify(bug)}\n`);
  const odd = Object.values(books[n]?.wrong ?? {}).flat();
  odd.push(...(doubled[n] ?? []));
  for (const id of odd.slice(0, 5)) line.tell(id);
  await line.close(wrong > 0);
}
process.exit(wrong > 0 || isWeak ? 1 : 0);
