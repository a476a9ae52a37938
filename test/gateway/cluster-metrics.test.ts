/** What two gateways on one database say in /metrics: the same of the spool, each its own of what it has done. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { CATALOGUE } from '../../src/watch/catalogue.ts';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { series, withoutSpool } from '../watch/exposition.ts';
import { GatewayCluster, post, until } from './cluster.ts';
import type { GatewayProcess } from './process.ts';

const FROM = 'notifications@contoso.com';
const TO = 'y@contoso.com';
const MAILS = 7;

describe.skipIf(withoutPostgres() !== undefined)(
  'the metrics of two gateways on one database',
  { timeout: 60_000 },
  () => {
    let server: PostgresServer;
    let sandbox: Sandbox;
    let cluster: GatewayCluster;
    let gateways: readonly GatewayProcess[];
    let shown: readonly string[] = [];

    async function ask(): Promise<void> {
      shown = await Promise.all(
        gateways.map(async (gateway) => (await fetch(`${await gateway.consoleUrl()}/metrics`)).text()),
      );
    }
    /** Of each gateway: series of a metric, without the name of the spool, to value. */
    const of = (metric: string): readonly Readonly<Record<string, number>>[] =>
      shown.map((all) =>
        Object.fromEntries(
          [...series(withoutSpool(all))]
            .filter(([key]) => key.split('{')[0] === `smtp2exchange_${metric}`)
            .map(([key, value]) => [key.replace(/^\w+/, ''), value]),
        ),
      );
    const sum = (metric: string): number =>
      of(metric).reduce((total, one) => total + Object.values(one).reduce((a, b) => a + b, 0), 0);

    beforeAll(async () => {
      server = await PostgresServer.start();
      sandbox = await startSandbox({ mailboxes: [FROM, TO].map((address) => ({ address })) });
      cluster = new GatewayCluster({ sandbox, url: await server.freshUrl() });
      // Nothing gets out: all that is taken waits.
      sandbox.fault({ when: { operation: 'CreateItem' }, does: { status: 503 } });
      gateways = [cluster.start('a'), cluster.start('b')];
      const ports = await Promise.all(gateways.map((gateway) => gateway.ready()));
      for (let n = 0; n < MAILS; n++) await post(ports[n % 2] ?? 0, { from: FROM, to: TO, id: `<${n}@metrics.test>` });
      await until('both know of the mail, and that the route is held', async () => {
        await ask();
        return of('queue_items').every(
          (one, n) =>
            (one['{state="queued"}'] ?? 0) + (one['{state="sending"}'] ?? 0) === MAILS &&
            of('route_held')[n]?.['{route="exchange"}'] === 1,
        );
      });
    }, 60_000);
    afterAll(async () => {
      await cluster?.close();
      await sandbox?.close();
      await server?.close();
    });

    it('have the same name of the spool on every series, which tells no password', () => {
      const names = shown.map(
        (all) => new Set([...series(all).keys()].map((key) => /spool="([^"]*)"/.exec(key)?.[1] ?? key)),
      );
      expect(names.map((one) => one.size)).toEqual([1, 1]);
      expect(names[0]).toEqual(names[1]);
      expect([...(names[0] ?? [])][0]).toMatch(/^\w+-[0-9a-f]{8}$/);
    });

    it('say the same of the spool: each counts all mail, whoever took it', () => {
      const ofSpool = Object.values(CATALOGUE).filter(({ scope }) => scope === 'spool');
      expect(ofSpool.length).toBeGreaterThan(4);
      // What moves between two looks is told by its labels here; its figures below.
      for (const { name } of ofSpool) {
        const [one, other] = of(name.replace('smtp2exchange_', ''));
        expect([name, Object.keys(other ?? {})]).toEqual([name, Object.keys(one ?? {})]);
      }
      expect(of('spool_body_bytes')[0]).toEqual(of('spool_body_bytes')[1]);
      expect(of('spool_free_bytes')).toEqual([{}, {}]);
      for (const one of of('queue_oldest_age_seconds')) expect(one['']).toBeGreaterThan(0);
    });

    it('count what each has done: the sum is what was done', () => {
      expect(sum('messages_accepted_total')).toBe(MAILS);
      expect(of('messages_accepted_total').map((one) => one['{listener="lan"}'])).toEqual([4, 3]);
      const held = gateways.map(({ lines }) =>
        lines.filter(({ event, elsewhere }) => event === 'route.held' && elsewhere !== true),
      );
      expect(sum('holds_total')).toBeLessThanOrEqual(held.flat().length);
      expect(sum('holds_total')).toBeGreaterThan(0);
    });
  },
);
