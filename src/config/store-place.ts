/**
 * A spool as the command line names it, where the configuration names another one: a file, or the URL of a database, with
 * `${NAME}` for a variable of the environment as in the configuration. A problem holds nothing of a URL.
 */
import { isAbsolute, relative, resolve } from 'node:path';
import type { StoreConfig } from './config.ts';
import type { Environment } from './environment.ts';
import { fillIn } from './environment.ts';
import { databaseUrl, spoolOf } from './spool.ts';
import type { SpoolSettings } from './spool.ts';
import { readUrl } from './spool-check.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/** urlFile: a file with the URL of a database. */
export type StorePlace = { readonly at: string } | { readonly urlFile: string };

export interface PlacedStore {
  readonly store: StoreConfig;
  /** The line of the section `spool` that names it, without a secret. */
  readonly setting: string;
}

export interface PlaceContext {
  /** What else the configuration says about databases. */
  readonly settings: SpoolSettings;
  /** The configuration's own: where files start that a URL names. */
  readonly folder: string;
  /** Where paths of the command line start. */
  readonly cwd: string;
  readonly environment: Environment;
}

const VARIABLE = /^(?:env:([A-Za-z_]\w*)|\$\{([A-Za-z_]\w*)\})$/;

export async function storeAt(place: StorePlace, context: PlaceContext): Promise<Value<PlacedStore>> {
  const { settings, folder, cwd, environment } = context;
  if ('urlFile' in place) {
    const url = await readUrl(cwd, place.urlFile);
    if (!url.ok) return url;
    const { store } = spoolOf({ ...settings, postgres: url.value }, undefined, folder);
    return good({ store, setting: `postgresFile: ${pathIn(folder, resolve(cwd, place.urlFile))}` });
  }
  const [, named, quoted] = VARIABLE.exec(place.at) ?? [];
  const variable = named ?? quoted;
  const text = fillIn(variable === undefined ? place.at : `\${${variable}}`, environment);
  if (!text.ok) return text;
  const { postgres: _, postgresFile: _file, ...rest } = settings;
  if (isUrl(text.value)) {
    const url = databaseUrl(text.value);
    if (!url.ok) return url;
    const { store } = spoolOf({ ...rest, postgres: url.value }, undefined, folder);
    const setting = variable === undefined ? 'the URL that you gave' : `\${${variable}}`;
    return good({ store, setting: `postgres: ${setting}` });
  }
  if (variable !== undefined || text.value.trim() === '')
    return bad('holds neither the URL of a database nor the name of a file', 'a URL begins with postgresql://');
  const path = resolve(cwd, text.value);
  return good({ store: { kind: 'sqlite', path }, setting: `sqlite: ${pathIn(folder, path)}` });
}

function isUrl(text: string): boolean {
  return /^[a-z][a-z\d+.-]*:\/\//i.test(text);
}

/** As the configuration would write it. */
export function pathIn(folder: string, path: string): string {
  const inside = relative(folder, path);
  const name = inside === '' || inside.startsWith('..') || isAbsolute(inside) ? path : inside;
  return /^[\w./\\ -]+$/.test(name) ? name : JSON.stringify(name);
}
