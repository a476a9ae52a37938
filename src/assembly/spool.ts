/**
 * The spool that the configuration names: a file, or a database that several gateways may share. Only the engine that is
 * used is loaded. Fails with a SpoolError that says what to do.
 */
import { join } from 'node:path';
import type { Config, StoreConfig } from '../config/config.ts';
import type { Cluster } from '../mail/cluster.ts';
import type { Report } from '../mail/event.ts';
import { readPostgresUrl, shownPostgresUrl } from '../mail/postgres-url.ts';
import type { LimitedSpool, MovableSpool, SpoolError } from '../mail/spool.ts';
import { makeFolder } from '../spool/folder.ts';

export interface OpenedSpool {
  readonly spool: LimitedSpool & MovableSpool;
  /** Where several gateways may work on it. */
  readonly cluster?: Cluster;
}

/** What of the configuration it takes. */
export interface SpoolPlan {
  readonly spool: Config['spool'];
  readonly retry: Pick<Config['retry'], 'verifyAfter'>;
  readonly pacing: Pick<Config['pacing'], 'first'>;
}

export interface SpoolParts {
  readonly report: Report;
  readonly version: string;
  readonly onLost?: (error: SpoolError) => void;
  /** operator: for orders, while gateways may be at work where several can be. Default: gateway. */
  readonly role?: 'gateway' | 'operator';
}

/** For what one person orders. */
const OPERATOR_CONNECTIONS = 3;

export async function openSpool(
  { spool: { store, folder, maxItems, minFree }, retry: { verifyAfter }, pacing: { first } }: SpoolPlan,
  { report, version, onLost, role = 'gateway' }: SpoolParts,
): Promise<OpenedSpool> {
  const same = { report, maxItems, verifyAfter, first, ...(onLost === undefined ? {} : { onLost }) };
  switch (store.kind) {
    case 'sqlite': {
      const { openSqliteSpool } = await import('../spool/sqlite.ts');
      return { spool: await openSqliteSpool({ ...same, path: store.path, minFree }) };
    }
    case 'postgres': {
      const isVisit = role === 'operator';
      if (!isVisit) await makeFolder(join(folder, 'control.sock'));
      const { openPostgresSpool } = await import('../spool/postgres.ts');
      const { url, lease } = store;
      const connections = isVisit ? OPERATOR_CONNECTIONS : store.connections;
      return openPostgresSpool({ ...same, role, url: url.reveal(), connections, lease, version });
    }
  }
}

/** What people know the spool by, and what tells it from others: its file, or its database without the password. */
export function spoolName(store: StoreConfig): string {
  if (store.kind === 'sqlite') return store.path;
  const url = readPostgresUrl(store.url.reveal());
  if (!url.ok) throw new Error('a URL of a database that cannot be read passed its checks');
  return shownPostgresUrl(url.value);
}

/** Whether what people know a spool by is a database. */
export function isDatabase(name: string): boolean {
  return name.startsWith('postgresql://');
}
