/**
 * kill -9, again and again, while a spool is moved there and back, between two files and (where PostgreSQL is on this
 * machine) between a file and a database: nothing lost, nothing twice, everything as it was.
 *
 * Usage: move-crash.ts [ROUNDS [SEED]]. Exit code 1 if anything is not as it was; the spools are kept then. The order of
 * events is the machine's, so a seed repeats the choices, not the run.
 */
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { chance } from './chance.ts';
import type { CrashPlace } from './move-crash-line.ts';
import { databasePlace, filePlace, moveUnderKills, nothingElse } from './move-crash-line.ts';
import { folder } from './process.ts';

const rounds = Number(process.argv[2] ?? 300);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const begun = Date.now();
const place = folder();
const configFile = place.write('config.yaml', nothingElse('sqlite: unused.db'));
const server = withoutPostgres() ? undefined : await PostgresServer.start();
print(`seed ${seed}, in ${place.path}`);

async function run(name: string, places: readonly [CrashPlace, CrashPlace], count: number): Promise<void> {
  const options = { folder: place.path, configFile, rounds: count, random: chance(seed) };
  const { kills, moves, most, already } = await moveUnderKills(places, options);
  print(
    `between ${name}: ${kills} times killed; ${moves} moves came to their end, in up to ${most} processes; ${already} messages were on both sides after a kill. All is as it was`,
  );
}

const half = server === undefined ? rounds : Math.ceil(rounds / 2);
await run('two files', [filePlace(place.path, 'a.db'), filePlace(place.path, 'b.db')], half);
if (server !== undefined) {
  const database = databasePlace(server, await server.database(), 'DATABASE_URL');
  await run('a file and a database', [filePlace(place.path, 'c.db'), database], rounds - half);
}
print(`${Math.round((Date.now() - begun) / 1000)} s`);
await server?.close();
place.remove();
