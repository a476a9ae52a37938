/** The parts of the PostgreSQL engine, put together: who tells whom of what. Nothing happens yet. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Report } from '../mail/event.ts';
import type { First } from '../mail/precedence.ts';
import type { SpoolError } from '../mail/spool.ts';
import { Accept } from './postgres-accept.ts';
import { SetAside } from './postgres-aside.ts';
import { PostgresBodies } from './postgres-bodies.ts';
import { PostgresChecking } from './postgres-checking.ts';
import { Claims } from './postgres-claim.ts';
import { StoreClock } from './postgres-clock.ts';
import { PostgresCluster } from './postgres-cluster.ts';
import { PostgresDatabase } from './postgres-database.ts';
import { Drafts } from './postgres-drafts.ts';
import { Health } from './postgres-health.ts';
import { PostgresItems } from './postgres-items.ts';
import { Keeper } from './postgres-keeper.ts';
import { Known } from './postgres-known.ts';
import { PostgresListing } from './postgres-listing.ts';
import { PostgresMoving } from './postgres-moving.ts';
import { News } from './postgres-news.ts';
import { PostgresNotices } from './postgres-notices.ts';
import { FORMAT } from './postgres-opening.ts';
import type { Format } from './postgres-opening.ts';
import { PostgresOperator } from './postgres-operator.ts';
import type { Pool } from './postgres-pool.ts';
import { PostgresReceipts } from './postgres-receipts.ts';
import { PostgresSplitter } from './postgres-split.ts';
import { Tickets } from './postgres-tickets.ts';
import { Waiting } from './postgres-waiting.ts';

export interface PostgresOptions {
  /** As src/mail/postgres-url.ts reads it. */
  readonly url: string;
  readonly report: Report;
  /** Called once if the store is lost for this process: only a new start helps. */
  readonly onLost?: (error: SpoolError) => void;
  /** Connections at most, at least 2. */
  readonly connections?: number;
  /** Milliseconds for which what this gateway does is its own, unless it says so again. */
  readonly lease?: number;
  /** Of this program, for people; and the name of this machine. */
  readonly version?: string;
  readonly host?: string;
  /** Items waiting (queued, sending, parked) from which on there is no room. */
  readonly maxItems?: number;
  /** Milliseconds after the start of an attempt that was cut short, before it may be looked into. */
  readonly verifyAfter?: number;
  /** What goes before other due mail of its mailbox; for what comes to exist from now on. Default: nothing. */
  readonly first?: readonly First[];
  /** Octets of a row of a body. */
  readonly chunkSize?: number;
  /** Milliseconds without an answer, after which a connection is given up. */
  readonly queryTimeout?: number;
  /** Milliseconds that a message waits for the database to come back, once nobody knows whether it exists. */
  readonly commitPatience?: number;
  /** Of the tables. */
  readonly format?: Format;
  /**
   * operator: for orders while gateways may be at work. It is none of them: it makes no tables, takes nothing over and has no
   * duties; what comes of an order is told to them. Default: gateway.
   */
  readonly role?: 'gateway' | 'operator';
  /** Instead of the server's clock. */
  readonly now?: () => number;
  /** 0 <= chance < 1 */
  readonly random?: () => number;
}

const LEASE = 30_000;
const VERIFY_AFTER = 90_000;
const COMMIT_PATIENCE = 30_000;

export type Parts = ReturnType<typeof partsOf>;

export function partsOf(pool: Pool, options: PostgresOptions) {
  const { report, first = [], format = FORMAT, onLost } = options;
  const { verifyAfter = VERIFY_AFTER, commitPatience = COMMIT_PATIENCE } = options;
  const { lease = LEASE, host = hostname(), version = '' } = options;
  const id = randomBytes(9).toString('base64url');
  const joining = { id, host, version, lease };
  const clock = new StoreClock(options.now);
  const now = (): number => clock.now();
  const health = new Health(report, pool.where);
  const database = new PostgresDatabase(pool, health);
  const waiting = new Waiting();
  const tickets = new Tickets();
  const notices = new PostgresNotices(tickets, id);
  const aside = new SetAside(notices, report);
  const bodies = new PostgresBodies(database, aside);
  const onEnded = (items: number, needless: number): void => {
    waiting.add(-items);
    if (needless > 0) bodies.needless();
  };
  const news: News = new News({ owner: id, onNews: (what) => keeper.look(what) });
  const known = new Known({ database, owner: id, now, onChanged: () => news.changed() });
  const claims = new Claims({ database, tickets, aside, known, owner: id });
  const drafts = new Drafts(database, id);
  const accept = new Accept({
    database,
    notices,
    drafts,
    first,
    patience: commitPatience,
    onArrived: (items) => {
      waiting.add(items.length);
      for (const item of items) news.due(item);
    },
    onEnded,
  });
  const keeper: Keeper = new Keeper({
    pool,
    health,
    clock,
    tickets,
    claims,
    known,
    news,
    format,
    joining,
    verifyAfter,
    report,
    waiting,
    drafts,
    onNeedless: () => bodies.needless(),
    onBack: () => void accept.withdraw(),
    onLost: (error) => {
      report({ event: 'spool.trouble', trouble: error.trouble, detail: error.message });
      health.end(error);
      onLost?.(error);
    },
  });
  health.onTrouble = () => keeper.look();
  return {
    pool,
    format,
    joining,
    verifyAfter,
    clock,
    health,
    waiting,
    notices,
    aside,
    bodies,
    drafts,
    accept,
    claims,
    database,
    news,
    keeper,
    items: new PostgresItems({ database, notices, tickets, owner: id, now, onEnded }),
    splitter: new PostgresSplitter({ database, notices, tickets, owner: id, now, onEnded }),
    operator: new PostgresOperator({ database, notices, aside, now, onDue: (lane) => news.due(lane), onEnded }),
    receipts: new PostgresReceipts(database, now),
    listing: new PostgresListing(database),
    checking: new PostgresChecking(database, aside, now),
    moving: new PostgresMoving(database, verifyAfter),
    cluster: new PostgresCluster({ id, lease, database, clock, known, news }),
  };
}
