/** Two gateways on one database: what they keep to together, and that one can be replaced while the other works. */
import { setTimeout as pause } from 'node:timers/promises';
import type { TestContext } from 'vitest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { GatewayCluster, post, until } from './cluster.ts';
import { CommandProcess } from './command-process.ts';
import type { GatewayProcess } from './process.ts';

const FROM = 'notifications@contoso.com';
const TO = 'y@contoso.com';
const RETRY = 'retry: { intervals: [1s], verifyAfter: 1s }';

interface Site {
  readonly sandbox: Sandbox;
  readonly cluster: GatewayCluster;
  /** When each request to send reached Exchange, epoch milliseconds. */
  readonly requests: number[];
}

describe.skipIf(withoutPostgres() !== undefined)('two gateways on one database', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => server.close());

  async function site({ onTestFinished }: TestContext, more: string): Promise<Site> {
    const requests: number[] = [];
    const sandbox = await startSandbox({
      mailboxes: [FROM, TO].map((address) => ({ address })),
      record: (document) => {
        if (document.subarray(0, 2_000).includes('<m:CreateItem ')) requests.push(Date.now());
      },
    });
    const cluster = new GatewayCluster({ sandbox, url: await server.freshUrl(), more });
    onTestFinished(async () => {
      await cluster.close();
      await sandbox.close();
    });
    return { sandbox, cluster, requests };
  }

  async function both({ cluster }: Site): Promise<readonly GatewayProcess[]> {
    const gateways = [cluster.start('a'), cluster.start('b')];
    await Promise.all(gateways.map((gateway) => gateway.ready()));
    return gateways;
  }

  async function send(gateways: readonly GatewayProcess[], count: number): Promise<void> {
    const ports = await Promise.all(gateways.map((gateway) => gateway.ready()));
    await Promise.all(
      Array.from({ length: count }, (_, n) =>
        post(ports[n % ports.length] ?? 0, { from: FROM, to: TO, id: `<${n}@cluster.test>` }),
      ),
    );
  }

  const relayed = ({ lines }: GatewayProcess): number =>
    lines.filter(({ event }) => event === 'delivery.relayed').length;

  it.concurrent('have no more on their way for a mailbox, together, than one may have', async (context) => {
    const place = await site(
      context,
      `${RETRY}\npacing: { perMailbox: { concurrency: 2, perMinute: unlimited }, catchUp: parallel }`,
    );
    const TAKES = 200;
    place.sandbox.fault({ does: { slow: { beforeActing: TAKES } } });
    const gateways = await both(place);
    await send(gateways, 24);
    await until('half of it is delivered', () => place.sandbox.arrived().length > 12);
    // Whoever has not had a part yet gets one.
    const [busy] = gateways.toSorted((a, b) => relayed(b) - relayed(a));
    await busy?.stop();
    await until('all is delivered', () => place.sandbox.arrived().length === 24);
    const { requests } = place;
    const atOnce = requests.map((at) => requests.filter((other) => other <= at && at < other + TAKES - 10).length);
    expect(Math.max(...atOnce)).toBe(2);
    for (const gateway of gateways) expect(relayed(gateway)).toBeGreaterThan(0);
  });

  it.concurrent('begin no more in a minute for a mailbox, together, than one may', async (context) => {
    const place = await site(
      context,
      `${RETRY}\npacing: { perMailbox: { concurrency: 4, perMinute: 10 }, catchUp: parallel }`,
    );
    const gateways = await both(place);
    await send(gateways, 16);
    await until('as many as may are delivered', () => place.sandbox.arrived().length >= 10);
    await pause(2_500);
    expect(place.requests).toHaveLength(10);
  });

  it.concurrent('wait together when the server tells one of them to', async (context) => {
    const place = await site(
      context,
      `${RETRY}\npacing: { perMailbox: { concurrency: 1, perMinute: unlimited }, catchUp: parallel }`,
    );
    const WAIT = 3_000;
    const gateways = await both(place);
    await send(gateways, 4);
    await until('all is delivered', () => place.sandbox.arrived().length === 4);
    place.sandbox.fault({ when: { count: 1 }, does: { status: 429, retryAfter: WAIT / 1_000 } });
    place.requests.length = 0;
    await send(gateways, 12);
    await until('all is delivered', () => place.sandbox.arrived().length === 16);
    const [told = 0, next = 0] = place.requests;
    expect(next - told).toBeGreaterThanOrEqual(WAIT - 50);
    expect(next - told).toBeLessThan(WAIT + 3_000);
  });

  it('are replaced one after the other under load, and nothing is lost; each shows the mail of both', async (context) => {
    const place = await site(
      context,
      `${RETRY}\npacing: { perMailbox: { concurrency: 4, perMinute: unlimited }, catchUp: parallel }`,
    );
    const { cluster, sandbox } = place;
    const gateways = new Map([
      ['a', cluster.start('a')],
      ['b', cluster.start('b')],
    ]);
    const ports = new Map<string, number>();
    for (const [name, gateway] of gateways) ports.set(name, await gateway.ready());
    const acknowledged: string[] = [];
    const over = new AbortController();
    let sent = 0;
    const client = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const id = `<${++sent}@rolling.test>`;
        const port = [...ports.values()][sent % ports.size] ?? 0;
        // Refused or cut off: as a client does, it goes to the other one the next time.
        await post(port, { from: FROM, to: TO, id }).then(
          () => acknowledged.push(id),
          () => undefined,
        );
      }
    };
    const clients = Array.from({ length: 4 }, client);
    for (const name of ['a', 'b']) {
      await pause(300);
      ports.delete(name);
      expect(await gateways.get(name)?.stop()).toEqual({ code: 0, signal: null });
      const next = cluster.start(name);
      gateways.set(name, next);
      ports.set(name, await next.ready());
    }
    await pause(300);
    over.abort();
    await Promise.all(clients);
    await until('all is delivered', () => sandbox.arrived().length >= acknowledged.length);
    const arrived = sandbox.arrived().map(({ messageId }) => messageId);
    expect(acknowledged.filter((id) => !arrived.includes(id))).toEqual([]);
    expect(new Set(arrived).size).toBe(arrived.length);
    expect(acknowledged.length).toBeGreaterThan(50);

    await sandbox.stop();
    await send([...gateways.values()], 6);
    for (const name of ['a', 'b']) {
      const words = ['queue', 'list', '--json', '--config', cluster.configFile(name)];
      const { code, out, errors } = await new CommandProcess(words, cluster.place.path).ended;
      expect({ code, errors }).toEqual({ code: 0, errors: '' });
      expect((JSON.parse(out) as unknown[]).length).toBe(6);
    }
  });
});
