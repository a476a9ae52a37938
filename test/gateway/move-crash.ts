/**
 * kill -9, again and again, while a spool is moved there and back: nothing lost, nothing twice, everything as it was.
 *
 * Usage: move-crash.ts [ROUNDS [SEED]]. Exit code 1 if anything is not as it was; the spools are kept then. The order of
 * events is the machine's, so a seed repeats the choices, not the run.
 */
import { chance } from './chance.ts';
import { filePlace, moveUnderKills, nothingElse } from './move-crash-line.ts';
import { folder } from './process.ts';

const rounds = Number(process.argv[2] ?? 300);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 32));
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const begun = Date.now();
const place = folder();
const configFile = place.write('config.yaml', nothingElse('sqlite: unused.db'));
print(`seed ${seed}, in ${place.path}`);
const ways = [['a file and a file', [filePlace(place.path, 'a.db'), filePlace(place.path, 'b.db')]]] as const;
for (const [name, places] of ways) {
  const { kills, moves, most, already } = await moveUnderKills(places, {
    folder: place.path,
    configFile,
    rounds,
    random: chance(seed),
  });
  print(
    `between ${name}: ${kills} times killed, ${moves} moves came to their end, in up to ${most} processes; ${already} messages were on both sides after a kill. All is as it was`,
  );
}
print(`${Math.round((Date.now() - begun) / 1000)} s`);
place.remove();
