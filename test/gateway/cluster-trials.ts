/**
 * What takes too long for every test run: gateways that stand still again and again, for times around and beyond their
 * lease, and the network to the database lost for a minute, in either way.
 *
 * Usage: cluster-trials.ts [PAUSES [SEED]]. Prints a line for each; exit code 1 if one went wrong.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { chance } from './chance.ts';
import { networkRun } from './cluster-network-run.ts';
import { PauseSite } from './cluster-pause-round.ts';

const pauses = Number(process.argv[2] ?? 12);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));
const MINUTE = 60_000;

const print = (line: string): void => void process.stdout.write(`${line}\n`);
let failed = 0;
function verdict(what: string, faults: readonly string[], figures: string): void {
  if (faults.length > 0) failed++;
  print(`${what.padEnd(52)}${faults.length === 0 ? 'ok' : 'FAILED'}  ${figures}`);
  for (const fault of faults.slice(0, 10)) print(`  ${fault}`);
}

if (withoutPostgres() !== undefined) process.exit(0);
const server = await PostgresServer.start();
try {
  const random = chance(seed);
  print(`seed ${seed}`);
  const site = await PauseSite.start(server);
  let lost = 0;
  for (let n = 0; n < pauses; n++) {
    const length = Math.round(1_500 + random() * 4_500);
    const { faults, reply, lost: given } = await site.round(length);
    lost += given;
    verdict(`stood still for ${length} ms`, faults, `${given} attempts given up; DATA: ${reply}`);
  }
  await site.close();
  if (site.bugs > 0 || lost === 0) verdict('all pauses', [`${site.bugs} bugs, ${lost} attempts given up`], '');
  const runs = (['holds', 'swallows', 'refuses'] as const).map(async (mode, n) => {
    await pause(n * 3_000);
    const { faults, longest, recovered, accepted, refused, kept, still } = await networkRun(server, {
      mode,
      length: MINUTE,
    });
    verdict(
      `a network that ${mode}, for a minute`,
      faults,
      `longest wait of a client ${longest} ms, accepted again after ${recovered} ms, refused ${refused}, yet delivered ${kept}; accepted by the other ${accepted.other}; nothing delivered for ${still} ms`,
    );
  });
  await Promise.all(runs);
} finally {
  await server.close();
}
process.exit(failed > 0 ? 1 : 0);
