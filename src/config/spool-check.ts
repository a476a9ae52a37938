/**
 * What the settings of the spool demand of each other, and the files they name. What has no effect where the mail is kept
 * is not taken in silence. Never fails, and a sentence holds nothing of a URL or a file.
 */
import { readPostgresUrl } from '../mail/postgres-url.ts';
import type { Path } from './fault.ts';
import { readAuthorities, readKeyPair, readSecret } from './files.ts';
import type { Secret } from './secret.ts';
import type { Context, SoundSettings } from './sound.ts';
import { databaseUrl, filesOf } from './spool.ts';
import type { Value } from './value.ts';

const OF_POSTGRES = ['connections', 'lease', 'folder'] as const;

export function checkSpool({ fault, wasGiven }: Pick<Context, 'fault' | 'wasGiven'>): void {
  const given = (key: string): boolean => wasGiven(['spool', key]);
  const [name, second] = ['postgres', 'postgresFile'].filter(given);
  if (second !== undefined) fault(['spool', second], `is given, and ${name} too`, 'remove one of the two');
  if (name === undefined) {
    for (const key of OF_POSTGRES.filter(given))
      fault(
        ['spool', key],
        'is given, but the spool is a file',
        'it is for a database of PostgreSQL: remove it, or set postgres',
      );
    return;
  }
  if (given('sqlite'))
    fault(
      ['spool', name],
      'is given, and sqlite too',
      'mail is kept in one of the two: remove the other (docs/scaling.md says how mail is moved)',
    );
  if (given('minFree'))
    fault(
      ['spool', 'minFree'],
      `is given, and ${name} too`,
      "the disk of the database cannot be seen from here, and is for the database's own monitoring; remove it",
    );
}

/** @returns the URL of `postgresFile` */
export async function fetchStore(
  { spool }: SoundSettings,
  folder: string,
  fault: (path: Path, problem: string, hint?: string) => void,
): Promise<Secret | undefined> {
  const { postgres, postgresFile } = spool ?? {};
  const setting = ['spool', postgres === undefined ? 'postgresFile' : 'postgres'];
  const read = postgresFile === undefined ? undefined : await readUrl(folder, postgresFile);
  if (read?.ok === false) fault(['spool', 'postgresFile'], read.problem, read.hint);
  const fromFile = read?.ok === true ? read.value : undefined;
  const url = postgres ?? fromFile;
  if (url !== undefined)
    for (const { problem, hint } of await faultsOfFiles(url, folder)) fault(setting, problem, hint);
  return fromFile;
}

/** As it stands in the file. */
export async function readUrl(folder: string, name: string): Promise<Value<Secret>> {
  const text = await readSecret(folder, name);
  return text.ok ? databaseUrl(text.value.reveal()) : text;
}

const PARAMETERS = { certFile: 'sslcert', keyFile: 'sslkey', pfxFile: 'sslcert' } as const;

/** They are read anew at each connection, and may have changed by then; what is wrong now is told now. */
async function faultsOfFiles(
  url: Secret,
  folder: string,
): Promise<readonly { readonly problem: string; readonly hint?: string }[]> {
  const read = readPostgresUrl(url.reveal());
  if (!read.ok) return [];
  const { sslRootCert, sslCert, sslKey } = filesOf(read.value);
  const faults: { problem: string; hint?: string }[] = [];
  const add = (parameter: string, { problem, hint }: { problem: string; hint?: string }): void => {
    faults.push({
      problem: `has ${parameter} that cannot be used: ${problem}`,
      ...(hint === undefined ? {} : { hint }),
    });
  };
  if (sslRootCert !== undefined) {
    const authorities = await readAuthorities(folder, sslRootCert);
    if (!authorities.ok) add('sslrootcert', authorities);
  }
  if (sslCert !== undefined && sslKey !== undefined) {
    const pair = await readKeyPair(folder, { certFile: sslCert, keyFile: sslKey }, false);
    if (!pair.ok) for (const one of pair.faults) add(PARAMETERS[one.file], one);
  }
  return faults;
}
