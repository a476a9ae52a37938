/** What one of two gateways on one database does at a time, as processes: lost, stopped and replaced in the midst of it. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { hashPassword } from '../../src/smtp/password.ts';
import { PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { GatewayCluster, until } from './cluster.ts';
import { FAX, faxSandbox, handedIds, lying, mail } from './pickup-site.ts';
import type { GatewayProcess } from './process.ts';

const TOKEN = 'a-token-of-chance-0123456789';
const LEASE = 2_000;

interface Site {
  readonly sandbox: Sandbox;
  readonly cluster: GatewayCluster;
  /** Where mail is handed over. */
  readonly path: string;
  start(name: string): Promise<GatewayProcess>;
}

describe.skipIf(withoutPostgres() !== undefined)('of two gateways on one database', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => server.close());

  /** @param more of the configuration; PATH stands for a folder of the test */
  async function site(more: string, there?: Sandbox): Promise<Site> {
    const sandbox = there ?? (await faxSandbox());
    const url = await server.freshUrl();
    let path = '';
    const cluster = new GatewayCluster({
      sandbox,
      url,
      console: `, token: ${TOKEN}`,
      get more() {
        return `retry: { intervals: [1s], verifyAfter: 1s }\n${more.replaceAll('PATH', path)}`;
      },
    });
    path = `${cluster.place.path}/out`;
    mkdirSync(path);
    onTestFinished(async () => {
      await cluster.close();
      if (there === undefined) await sandbox.close();
    });
    return {
      sandbox,
      cluster,
      path,
      async start(name) {
        const gateway = cluster.start(name);
        await gateway.ready();
        return gateway;
      },
    };
  }

  const PICKUP = `pickup:
  - mailbox: ${FAX}
    name: fax
    interval: 1s
    deliver: { folder: { path: PATH } }
    recipients: [{ in: always, to: fax@pbx.local }]
`;

  const has = (gateway: GatewayProcess, duty: string) =>
    gateway.lines.findLast(({ event, duty: name }) => String(event).startsWith('duty.') && name === duty)?.event ===
    'duty.taken';

  /** @returns who has it, and who has not */
  async function parted(
    gateways: readonly [GatewayProcess, GatewayProcess],
    duty: string,
  ): Promise<readonly [GatewayProcess, GatewayProcess]> {
    await until(`somebody has the duty ${duty}`, () => gateways.some((one) => has(one, duty)));
    return has(gateways[0], duty) ? gateways : [gateways[1], gateways[0]];
  }

  async function receive({ sandbox }: Site, from: number, to: number): Promise<void> {
    for (let n = from; n < to; n++) await sandbox.receive(FAX, { mime: mail({ id: `m${n}` }) });
  }

  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'one picks up; after its %s the other goes on within a lease, and nothing is handed over twice',
    async (signal) => {
      const place = await site(PICKUP);
      const both = [await place.start('a'), await place.start('b')] as const;
      const [one, other] = await parted(both, 'pickup fax');
      await receive(place, 0, 5);
      await until('the first are handed over', () => handedIds(place.path).length === 5);
      await receive(place, 5, 40);
      await until('it is in the midst of it', () => lying(place.sandbox, 'Processed').length > 12);
      one.child.kill(signal);
      const at = performance.now();
      await until('the other has the duty', () => has(other, 'pickup fax'));
      expect(performance.now() - at).toBeLessThan(LEASE + LEASE / 6 + 3_000);
      await receive(place, 40, 50);
      await until('all is picked up', () => lying(place.sandbox, 'Processed').length === 50, 30);
      if (signal === 'SIGSTOP') {
        one.child.kill('SIGCONT');
        await one.line(({ event }) => event === 'duty.lost');
        await receive(place, 50, 60);
      }
      const all = Array.from({ length: signal === 'SIGSTOP' ? 60 : 50 }, (_, n) => `<m${n}@contoso.com>`).toSorted();
      await until('all is handed over', () => handedIds(place.path).length >= all.length, 30);
      await pause(2_000);
      expect(handedIds(place.path)).toEqual(all);
      expect(has(other, 'pickup fax')).toBe(true);
      for (const gateway of both) {
        expect(gateway.lines.filter(({ event }) => event === 'bug' || event === 'pickup.waiting')).toEqual([]);
      }
    },
    60_000,
  );

  it('one that stops hands over to the other; a spool of its own waits for both', async () => {
    const place = await site(PICKUP);
    const both = [await place.start('a'), await place.start('b')] as const;
    const [one, other] = await parted(both, 'pickup fax');
    const strange = await site(PICKUP, place.sandbox);
    const outsider = await strange.start('c');
    await outsider.line(({ event }) => event === 'pickup.waiting');
    one.child.kill('SIGTERM');
    expect(await one.exited).toEqual({ code: 0, signal: null });
    expect(one.lines.map(({ event }) => event)).toContain('duty.left');
    await until('the other picks up', () => other.lines.some(({ event }) => event === 'pickup.opened'));
    await receive(place, 0, 10);
    await until('all is handed over', () => handedIds(place.path).length === 10);
    expect(handedIds(strange.path)).toEqual([]);
  }, 60_000);

  it('each shows all of them, and a mailbox is looked into from anywhere', async () => {
    const place = await site(PICKUP.replace('interval: 1s', 'interval: 1h\n    notifications: false'));
    const both = [await place.start('a'), await place.start('b')] as const;
    const [one, other] = await parted(both, 'pickup fax');
    await one.line(({ event }) => event === 'pickup.opened');
    const at = String((await other.line(({ event }) => event === 'console.open'))['url']);
    const state = (await (
      await fetch(`${at}/api/state`, { headers: { authorization: `Bearer ${TOKEN}` } })
    ).json()) as {
      readonly gateways: readonly { readonly isThis: boolean; readonly duties: readonly string[] }[];
      readonly pickups: readonly { readonly elsewhere?: string }[];
    };
    expect(state.gateways.map(({ isThis }) => isThis).toSorted()).toEqual([false, true]);
    expect(state.gateways.find(({ isThis }) => !isThis)?.duties).toContain('pickup fax');
    expect(state.pickups[0]?.elsewhere).toMatch(/./);

    await receive(place, 0, 3);
    const login = await fetch(`${at}/login`, {
      method: 'POST',
      redirect: 'manual',
      headers: { origin: at, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ secret: TOKEN }),
    });
    const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? '';
    const page = await (await fetch(`${at}/pickups`, { headers: { cookie } })).text();
    const formToken = /name="formToken" value="([^"]+)"/.exec(page)?.[1] ?? '';
    await fetch(`${at}/pickups`, {
      method: 'POST',
      redirect: 'manual',
      headers: { origin: at, cookie, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ pickup: 'fax', formToken }),
    });
    expect(await (await fetch(`${at}/pickups`, { headers: { cookie } })).text()).toContain('by the gateway on');
    await until('it was looked into', () => handedIds(place.path).length === 3, 5);
  }, 60_000);

  it('a POP3 mailbox is open at one', async () => {
    const place = await site(`pickup:
  - mailbox: ${FAX}
    name: fax
    interval: 1s
    deliver: { pop3: { user: fax, passwordHash: "${await hashPassword('secret')}" } }
pop3: { address: 127.0.0.1, port: 0 }
`);
    const both = [await place.start('a'), await place.start('b')] as const;
    const [here, there] = await Promise.all(both.map((gateway) => portOf(gateway)));
    await receive(place, 0, 3);
    const counts = async (port = 0): Promise<string> => {
      const one = await Pop3.open(port);
      const answer = await one.logIn();
      await one.say('QUIT');
      return answer;
    };
    await until('both show it', async () => (await counts(there)) === '+OK 3 messages');
    const one = await Pop3.open(here ?? 0);
    expect(await one.logIn()).toBe('+OK 3 messages');
    await pause(LEASE * 2);
    expect(await counts(there)).toMatch(/^-ERR \[IN-USE\]/);
    await one.say('DELE 1');
    expect(await one.say('QUIT')).toBe('+OK 1 messages deleted');
    expect(await counts(there)).toBe('+OK 2 messages');
    const lost = await Pop3.open(here ?? 0);
    await lost.logIn();
    both[0].child.kill('SIGKILL');
    expect(await counts(there)).toMatch(/^-ERR \[IN-USE\]/);
    await until('it is free', async () => (await counts(there)) === '+OK 2 messages', LEASE / 1_000 + 1);
  }, 60_000);

  it('one tells of what both see, and the other goes on from there', async () => {
    const place = await site(`pickup:
  - { mailbox: nobody@contoso.com, name: fax, deliver: { folder: { path: PATH } } }
alarms: { to: [{ name: file, command: [/bin/sh, -c, 'echo "$ALARM_NOTICE $ALARM_ID" >> PATH/told'] }] }
`);
    const file = `${place.path}/told`;
    const told = (): string => (existsSync(file) ? readFileSync(file, 'utf8').trim() : '');
    const both = [await place.start('a'), await place.start('b')] as const;
    await until('it is told', () => told() !== '');
    const [teller, other] = await parted(both, 'alarms');
    // What was told is noted a moment later.
    await pause(500);
    teller.child.kill('SIGKILL');
    await other.line(({ event, repeated }) => event === 'alarm.raised' && repeated === true, 20);
    await pause(2_000);
    expect(told()).toBe('raised pickupFailed:fax');
  }, 60_000);
});

async function portOf(gateway: GatewayProcess): Promise<number> {
  const { port } = await gateway.line(({ event, listener }) => event === 'listener.open' && listener === 'pop3');
  return Number(port);
}

class Pop3 {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined);
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async open(port: number): Promise<Pop3> {
    const socket = connect({ host: '127.0.0.1', port });
    const one = new Pop3(socket);
    await once(socket, 'connect');
    await one.#line();
    return one;
  }

  async say(command: string): Promise<string> {
    this.#socket.write(`${command}\r\n`);
    return await this.#line();
  }

  async logIn(): Promise<string> {
    await this.say('USER fax');
    return await this.say('PASS secret');
  }

  async #line(): Promise<string> {
    return String((await this.#lines.next()).value ?? 'closed');
  }
}
