/** Gateways' engines on one database of a test's own, each behind a network of its own that breaks to order. */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { Cluster } from '../../src/mail/cluster.ts';
import type { Event } from '../../src/mail/event.ts';
import type { QueueItem } from '../../src/mail/item.ts';
import type { LimitedSpool, MovableSpool } from '../../src/mail/spool.ts';
import { openPostgresSpool } from '../../src/spool/postgres.ts';
import type { PostgresOptions } from '../../src/spool/postgres.ts';
import { PostgresProxy } from './postgres-proxy.ts';
import { PostgresServer } from './postgres-server.ts';

export interface TestGateway {
  readonly spool: MovableSpool & LimitedSpool;
  readonly cluster: Cluster;
  readonly proxy: PostgresProxy;
  readonly events: readonly Event[];
  /** Of that name, so far. */
  told<Name extends Event['event']>(name: Name): Extract<Event, { readonly event: Name }>[];
}

export const lane = { route: 'exchange', mailbox: 'a@contoso.com' };

/** For claims whose items are looked at long before their lease is over. */
export const claiming = { now: Number.MAX_SAFE_INTEGER, limit: 100, leaseUntil: Number.MAX_SAFE_INTEGER };

export class TestCluster {
  readonly #server: PostgresServer;
  readonly #database: string;
  readonly #open: TestGateway[] = [];

  private constructor(server: PostgresServer, database: string) {
    this.#server = server;
    this.#database = database;
  }

  static async start(server: PostgresServer): Promise<TestCluster> {
    return new TestCluster(server, await server.database());
  }

  async gateway(options: Partial<PostgresOptions> = {}): Promise<TestGateway> {
    const proxy = await PostgresProxy.start(() => this.#server.port);
    const events: Event[] = [];
    const opened = await openPostgresSpool({
      url: this.#server.url(this.#database, { ports: [proxy.port] }),
      report: (event) => events.push(event),
      connections: 5,
      ...options,
    });
    const gateway: TestGateway = {
      ...opened,
      proxy,
      events,
      told: <Name extends Event['event']>(name: Name) =>
        events.filter((event): event is Extract<Event, { readonly event: Name }> => event.event === name),
    };
    this.#open.push(gateway);
    return gateway;
  }

  async sql<Row extends Record<string, unknown>>(text: string): Promise<Row[]> {
    return this.#server.sql<Row>(text, this.#database);
  }

  /** As if all leases of that gateway were over, whatever it believes. */
  async expire({ cluster: { id } }: TestGateway): Promise<void> {
    await this.sql(`UPDATE smtp2exchange.item SET lease = 0 WHERE owner = '${id}'`);
    await this.sql(`UPDATE smtp2exchange.duty SET until = 0 WHERE owner = '${id}'`);
    await this.sql(`UPDATE smtp2exchange.member SET seen = 0 WHERE id = '${id}'`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#open.map(async ({ spool, proxy }) => {
        await spool.close();
        await proxy.close();
      }),
    );
  }
}

export function idOf(items: readonly QueueItem[] | undefined): string {
  const [item] = items ?? [];
  if (item === undefined) throw new Error('no item');
  return item.id;
}

/** For describe(): a server for all of its tests, and a database for each, whose gateways end with it. */
export function testBed(): { readonly server: PostgresServer; readonly cluster: TestCluster } {
  let server: PostgresServer | undefined;
  let cluster: TestCluster | undefined;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => {
    await server?.close();
  });
  beforeEach(async () => {
    if (server !== undefined) cluster = await TestCluster.start(server);
  });
  afterEach(async () => {
    await cluster?.close();
  });
  const there = <Part>(part: Part | undefined): Part => {
    if (part === undefined) throw new Error('only within a test');
    return part;
  };
  return {
    get server() {
      return there(server);
    },
    get cluster() {
      return there(cluster);
    },
  };
}
