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
import { chance } from './chance.ts';
import type { LineOptions } from './crash-line.ts';
import { Line } from './crash-line.ts';
import { crashReport } from './crash-report.ts';

const rounds = Number(process.argv[2] ?? 500);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));

const LINES: readonly LineOptions[] = [
  { name: 'in order', saveToSentItems: true, catchUp: 'inOrder', precious: 0 },
  { name: 'parallel', saveToSentItems: true, catchUp: 'parallel', precious: 0.4 },
  { name: 'SendOnly', saveToSentItems: false, catchUp: 'parallel', precious: 0.4 },
];

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
const columns = lines.map((line, n) => ({
  name: line.name,
  load: line.load,
  books: line.books(),
  rounds: { 'rounds of kill -9': line.rounds },
  saveToSentItems: LINES[n]?.saveToSentItems ?? true,
  bugs: line.bugs,
  exits: [exits[n] ?? null],
  tell: (messageId: string) => line.tell(messageId),
  close: (isKept: boolean) => line.close(isKept),
}));
const seconds = (Date.now() - begin) / 1000;
process.exit(await crashReport(columns, { seed, seconds, isWhole: rounds >= 500 }));
