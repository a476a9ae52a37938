/**
 * kill -9, again and again, while mailboxes are emptied and everything around fails: Exchange over EWS and over Graph, the
 * webhook, the folder. To the mail: what may be handed over is handed over once (a webhook may hear of it again, with the
 * same key), its octets unchanged; each mail ends in the folder that the rules say; each refused sender is told once.
 * Three gateways at a time, each with its own sandbox and spool: over EWS, over Graph, and over either in turn.
 *
 * Usage: pickup-crash.ts [ROUNDS [SEED]]. Prints a table; exit code 1 if the books do not balance; the spools are kept then.
 * The order of events is the machine's, so a seed repeats the choices, not the run.
 */
import { chance } from './chance.ts';
import { KINDS } from './pickup-crash-faults.ts';
import type { Way } from './pickup-crash-line.ts';
import { Line } from './pickup-crash-line.ts';

const rounds = Number(process.argv[2] ?? 300);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));
const WAYS: readonly Way[] = ['ews', 'graph', 'both'];

const print = (what: string, values: readonly (number | string)[]): void =>
  void process.stdout.write(`${what.padEnd(52)}${values.map((value) => String(value).padStart(10)).join('')}\n`);
const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

const begin = Date.now();
const random = chance(seed);
process.stdout.write(`seed ${seed}\n`);
const lines = await Promise.all(WAYS.map((way) => Line.start(way, chance(random() * 2 ** 32))));
let left = rounds;
// Shared out to who is free, so that the lines end together.
const exits = await Promise.all(
  lines.map(async (line) => {
    while (left-- > 0) await line.round();
    return await line.drain();
  }),
);
const books = lines.map((line) => line.books());

const row = (what: string, of: (line: Line, n: number) => number): number => {
  const values = lines.map((line, n) => of(line, n));
  print(what, [...values, sum(values)]);
  return sum(values);
};
print(`seed ${seed}`, [...WAYS, 'all']);
row('rounds of kill -9', (line) => line.rounds);
for (const what of Object.keys(books[0]?.rows ?? {})) row(what, (_, n) => books[n]?.rows[what] ?? 0);
row('rounds with the folder in the way', ({ consumer }) => consumer.swaps);
row('items moved by a person', ({ moves }) => moves);
const repeats = row('posted again with the same key', (line) => line.repeats());
const repeated = row('found again, only filed', ({ counts }) => counts.get('pickup.repeated') ?? 0);
row('cursors lost', ({ counts }) => counts.get('pickup.resynced') ?? 0);
row('receipts left open', (line) => line.openReceipts());
let wrong = 0;
for (const what of Object.keys(books[0]?.wrong ?? {}))
  wrong += row(`! ${what}`, (_, n) => books[n]?.wrong[what]?.length ?? 0);
wrong += row('! what the webhook may not get', ({ hook }) => hook.wrong.length);
wrong += row('! what the folder may not hold', ({ consumer }) => consumer.wrong.length + consumer.leftovers().length);
wrong += row('! done, or raised, when all was done', ({ afterwards }) => afterwards.length);
wrong += row('! bugs reported', ({ bugs }) => bugs.length);
wrong += row('! last stops not clean', (_, n) => exits[n]?.filter((code) => code !== 0).length ?? 0);
const hit = row('requests that went wrong', ({ hits }) => sum([...hits.values()]));
for (const kind of new Set(KINDS.values())) row(`  ${kind}`, ({ hits }) => hits.get(kind) ?? 0);
for (const kind of new Set(lines.flatMap(({ hook }) => [...hook.hits.keys()])))
  row(`  webhook: ${kind}`, ({ hook }) => hook.hits.get(kind) ?? 0);
print('seconds', [Math.round((Date.now() - begin) / 1000)]);

// What a short run may miss, a whole one may not.
const isWeak =
  hit < rounds ||
  (rounds >= 300 && (repeats === 0 || repeated === 0 || lines.some(({ due }) => due < rounds) ||
    [...new Set(KINDS.values())].some((kind) => lines.every(({ hits }) => !hits.has(kind))))); // prettier-ignore
if (isWeak) process.stdout.write('too little went wrong to prove anything\n');
for (const [n, line] of lines.entries()) {
  for (const bug of line.bugs.slice(0, 5)) process.stdout.write(`${JSON.stringify(bug)}\n`);
  const odd = [...Object.entries(books[n]?.wrong ?? {}), ['afterwards', line.afterwards] as const];
  odd.push(['webhook', line.hook.wrong], ['folder', [...line.consumer.wrong, ...line.consumer.leftovers()]]);
  for (const [what, which] of odd)
    for (const one of which.slice(0, 5)) process.stdout.write(`${line.name}: ${what}: ${one}\n`);
  await line.close(wrong > 0);
}
process.exit(wrong > 0 || isWeak ? 1 : 0);
