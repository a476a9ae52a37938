/**
 * The engine of the spool for several gateways on one PostgreSQL database. A promise settles only when what it stands for is
 * durable there. What a gateway is sending is its own for a lease; what it orders after that, when another one may have
 * taken it over, changes nothing. Trouble with the database is a SpoolError; while it lasts room() says no, and twice a
 * second somebody looks whether it is over.
 */
import type { Cluster } from '../mail/cluster.ts';
import { readPostgresUrl } from '../mail/postgres-url.ts';
import type { LimitedSpool, MovableSpool } from '../mail/spool.ts';
import { SpoolError } from '../mail/spool.ts';
import { asideOf } from './postgres-aside.ts';
import { inTransaction } from './postgres-database.ts';
import { PostgresEngine } from './postgres-engine.ts';
import { checkFormat, formatIn, formatToVisit, openSchema } from './postgres-opening.ts';
import { partsOf } from './postgres-parts.ts';
import type { Parts, PostgresOptions } from './postgres-parts.ts';
import { Pool } from './postgres-pool.ts';
import { mend, sweepDrafts, takeOver } from './postgres-recovery.ts';
import { storeName } from './store-name.ts';

export type { PostgresOptions } from './postgres-parts.ts';

export interface PostgresSpool {
  readonly spool: MovableSpool & LimitedSpool;
  readonly cluster: Cluster;
}

const CONNECTIONS = 10;
const QUERY_TIMEOUT = 10_000;
/** What a change of the tables may take. */
const OPENING_TIMEOUT = 3_600_000;

/** @throws SpoolError whose message says what to do */
export async function openPostgresSpool(options: PostgresOptions): Promise<PostgresSpool> {
  const began = performance.now();
  const read = readPostgresUrl(options.url);
  if (!read.ok) throw new SpoolError('io', `The URL of the database ${read.problem}`);
  const { connections = CONNECTIONS, queryTimeout = QUERY_TIMEOUT } = options;
  // One is for hearing of the others.
  const pool = new Pool({ url: read.value, most: Math.max(1, connections - 1), queryTimeout });
  const parts = partsOf(pool, options);
  try {
    const { database } = read.value;
    const isVisit = options.role === 'operator';
    const figures = isVisit ? await visit(parts, database) : await begin(parts, database);
    const seconds = (performance.now() - began) / 1000;
    options.report({ event: 'spool.open', where: pool.where, ...figures, seconds });
  } catch (error) {
    await pool.close(new SpoolError('closed', `The database ${pool.where} is closed`), 0);
    throw error;
  }
  // One that was stopped in its tracks may come back to tables that it does not know any more.
  pool.admit = async (link) => checkFormat(await formatIn(link), pool.where, parts.format);
  const spool = new PostgresEngine(parts, options);
  if (options.role !== 'operator') await parts.keeper.start();
  return { spool, cluster: parts.cluster };
}

/** Brings the tables up, and takes care of what others have left. */
async function begin(
  { pool, clock, format, joining, verifyAfter, notices, aside, listing, waiting }: Parts,
  database: string,
) {
  const link = await pool.connect({ queryTimeout: OPENING_TIMEOUT });
  try {
    clock.learn(link.clock);
    const now = clock.now();
    await openSchema(link, pool.where, format, { ...joining, now });
    const taken = await takeOver(link, now, verifyAfter);
    const swept = await sweepDrafts(link, now);
    const parked = await inTransaction(link, () => mend(link, notices, now, verifyAfter));
    for (const item of parked) aside.report(asideOf(item, item.lastStatus?.reason ?? 'its sender could not be told'));
    const { items } = await listing.statsBy(link);
    waiting.count(items.queued + items.sending + items.parked);
    const spool = storeName(database, (await formatIn(link)).name);
    return { spool, queued: items.queued, recovered: taken.reduce((sum, one) => sum + one.items, 0), swept };
  } finally {
    await link.close();
  }
}

/** Changes nothing. */
async function visit({ pool, clock, format, listing, news }: Parts, database: string) {
  const figures = await pool.use(async (link) => {
    clock.learn(link.clock);
    const found = await formatToVisit(link, pool.where, format);
    const { items } = await listing.statsBy(link);
    return { spool: storeName(database, found.name), queued: items.queued, recovered: 0, swept: 0 };
  });
  news.speak((sql, ...values) => pool.use((link) => link.rows(sql, ...values)));
  return figures;
}
