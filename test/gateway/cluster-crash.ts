/**
 * Three gateways on one PostgreSQL, under load through all of them, while Exchange fails as in crash.ts, and round after
 * round something is lost: one gateway or two (kill -9), the database's server (kill -9, and started again), or its machine
 * for ever (a replica takes over, and a new one is made). The same books are kept as in crash.ts, and the same is asked of
 * them: what got a 250 is delivered, bounced or parked, to the message, octets unchanged, and none delivered twice but by the
 * rule that is stated there.
 *
 * Usage: cluster-crash.ts [ROUNDS [SEED]]. Prints a table; exit code 1 if the books do not balance.
 * Needs Debian's PostgreSQL, for the replica. The order of events is the machine's, so a seed repeats the choices, not
 * the run.
 */
import { withoutReplicas } from '../spool/postgres-server.ts';
import { chance } from './chance.ts';
import type { ClusterLineOptions } from './cluster-crash-line.ts';
import { ClusterLine, Pair } from './cluster-crash-line.ts';
import { crashReport } from './crash-report.ts';

const rounds = Number(process.argv[2] ?? 200);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));

const LINES: readonly ClusterLineOptions[] = [
  { name: 'in order', saveToSentItems: true, catchUp: 'inOrder', precious: 0.2 },
  { name: 'parallel', saveToSentItems: true, catchUp: 'parallel', precious: 0.4 },
  { name: 'SendOnly', saveToSentItems: false, catchUp: 'parallel', precious: 0.4 },
];

if (withoutReplicas() !== undefined) process.exit(0);
const begin = Date.now();
const random = chance(seed);
const pair = await Pair.start();
const columns = [];
const outages: ClusterLine['outages'][number][] = [];
try {
  for (const [n, options] of LINES.entries()) {
    const line = await ClusterLine.start(options, chance(random() * 2 ** 32), pair);
    for (let round = n; round < rounds; round += LINES.length) await line.round();
    await line.drain();
    outages.push(...line.outages);
    columns.push({
      name: line.name,
      load: line.load,
      books: await line.books(),
      rounds: line.rounds,
      saveToSentItems: options.saveToSentItems,
      bugs: line.bugs,
      exits: line.exits,
      tell: (messageId: string) => line.tell(messageId),
      close: (isKept: boolean) => line.close(isKept),
    });
  }
  const seconds = (Date.now() - begin) / 1000;
  // Of the longest of them, and what of it was the gateways' part: they had a server again.
  const slowest = (of: (outage: (typeof outages)[number]) => number): number =>
    Math.round(Math.max(0, ...outages.map(of)));
  process.stdout.write(
    `PostgreSQL lost ${outages.length} times: without a server ${slowest(({ without }) => without)} ms at most, a message accepted again ${slowest(({ accepted, without }) => accepted - without)} ms after its return at most\n`,
  );
  process.exitCode = await crashReport(columns, { seed, seconds, isWhole: rounds >= 200 });
} finally {
  await pair.close();
}
process.exit();
