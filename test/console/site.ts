/** A console on a real port over a real spool, and a client that keeps cookies like a browser, or not. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstBoard } from '../../src/console/board.ts';
import type { Guard } from '../../src/console/login.ts';
import { createLogin } from '../../src/console/login.ts';
import { lookNow } from '../../src/console/look.ts';
import { Meter } from '../../src/console/board.ts';
import { operations } from '../../src/console/operations.ts';
import type { Console } from '../../src/console/server.ts';
import { createConsole } from '../../src/console/server.ts';
import type { SessionRules } from '../../src/console/sessions.ts';
import { createSessions } from '../../src/console/sessions.ts';
import { createWeb } from '../../src/console/web.ts';
import type { LookedInto, WebOptions } from '../../src/console/web.ts';
import type { Member } from '../../src/mail/cluster.ts';
import type { Event } from '../../src/mail/event.ts';
import type { SpoolId } from '../../src/mail/item.ts';
import type { OperatedSpool } from '../../src/mail/spool.ts';
import type { Failed } from '../../src/mail/status.ts';
import { loginGuard } from '../../src/smtp/limits.ts';
import { openSqliteSpool } from '../../src/spool/sqlite.ts';

export const TOKEN = 'a-token-of-chance-0123456789';
export const USER = { name: 'alex', password: 'correct horse' };

export interface Site {
  readonly web: Console;
  readonly url: string;
  readonly spool: OperatedSpool;
  readonly events: Event[];
  /** Milliseconds that answers to failed logins were held back. */
  readonly pauses: number[];
  readonly looks: string[];
  /** Gateways on the spool, this one first; and who looks into a mailbox that is to be looked into. */
  readonly together: { members?: readonly Member[]; looked: LookedInto };
  /** Who asked for the configuration to be read anew, and what comes of it. */
  readonly reloads: string[];
  readonly reloaded: { now: Awaited<ReturnType<WebOptions['reload']>> };
  /** @returns its id */
  put(
    message: string,
    more?: {
      readonly from?: string;
      readonly to?: readonly string[];
      readonly messageId?: string;
      readonly mailbox?: string;
    },
  ): Promise<SpoolId>;
  park(id: SpoolId, status?: Partial<Failed>): Promise<void>;
  told(name: Event['event']): readonly Event[];
  close(): Promise<void>;
}

export interface Store {
  readonly spool: OperatedSpool;
  close(): Promise<void>;
}

export async function openStore(): Promise<Store> {
  const folder = mkdtempSync(join(tmpdir(), 's2x-console-'));
  const spool = await openSqliteSpool({ path: join(folder, 'spool.db'), report: () => undefined, minFree: 0 });
  return {
    spool,
    async close() {
      await spool.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export interface SiteOptions {
  /** Stays open; absent: one of its own. */
  readonly store?: Store;
  readonly sessions?: Partial<SessionRules>;
  readonly guard?: Guard;
  readonly hosts?: readonly string[];
}

export async function openSite({ store, sessions = {}, guard, hosts = [] }: SiteOptions = {}): Promise<Site> {
  const used = store ?? (await openStore());
  const { spool } = used;
  const events: Event[] = [];
  const report = (event: Event): void => void events.push(event);
  const board = firstBoard({ routes: ['exchange'], pickups: ['fax'], credentials: new Map() }, Date.now());
  const meter = new Meter(Date.now());
  const pauses: number[] = [];
  const looks: string[] = [];
  const together: Site['together'] = { looked: 'here' };
  const reloads: string[] = [];
  const reloaded: Site['reloaded'] = { now: { ok: true, changed: [], needsRestart: [] } };
  const ready = (): { ready: boolean; reasons: readonly string[] } => ({ ready: true, reasons: [] });
  const pages = createWeb({
    login: createLogin({
      isPassword: async (user, password) => user === USER.name && password === USER.password,
      token: TOKEN,
      guard: guard ?? loginGuard({ failures: 5, within: 60_000, ban: 60_000, delay: 100 }),
      report,
      pause: async (milliseconds) => void pauses.push(milliseconds),
    }),
    sessions: createSessions({ idle: 60_000, lasts: 600_000, ...sessions }),
    operations: operations({ spool, report }),
    look: () =>
      lookNow({
        board: () => board,
        flow: (now) => meter.read(now),
        stats: () => spool.stats(),
        ready,
        now: Date.now,
        ...(together.members && {
          together: {
            id: together.members[0]?.id ?? '',
            members: async () => together.members ?? [],
            alarms: () => new Map(),
          },
        }),
      }),
    routes: ['exchange', 'subsidiary', 'fax'],
    pickups: ['fax'],
    lookInto: async (pickup) => {
      looks.push(pickup);
      return together.looked;
    },
    reload: async (by) => {
      reloads.push(by);
      return reloaded.now;
    },
    hosts,
    gateway: 'gateway.test',
    version: '0.1.0',
    startedAt: Date.now(),
  });
  const web = createConsole({
    address: '127.0.0.1',
    port: 0,
    metrics: async () => ({ contentType: 'text/plain', body: 'up 1\n' }),
    ready,
    report,
    version: '0.1.0',
    pages,
  });
  await web.start();
  return {
    web,
    url: web.url(),
    spool,
    events,
    pauses,
    looks,
    together,
    reloads,
    reloaded,
    async put(
      message,
      {
        from = 'scanner@contoso.com',
        to = ['alice@contoso.com'],
        messageId = '<1@contoso.com>',
        mailbox = 'notifications@contoso.com',
      } = {},
    ) {
      const octets = Buffer.from(message.replace(/\r?\n/g, '\r\n'));
      const end = octets.indexOf('\r\n\r\n');
      const draft = spool.begin();
      await draft.write(octets);
      await draft.commit([
        {
          route: 'exchange',
          mailbox,
          envelope: { reversePath: from, recipients: to.map((address) => ({ address })) },
          origin: { source: 'smtp', name: 'lan', peer: '192.0.2.7', helo: 'scanner' },
          messageId,
          headerSize: end < 0 ? octets.length : end + 4,
        },
      ]);
      return draft.id;
    },
    async park(id, status = {}) {
      await spool.take(id, Date.now() + 60_000);
      await spool.park(id, {
        outcome: 'failed',
        code: '5.1.3',
        cause: 'ErrorInvalidRecipients',
        text: 'not valid',
        ...status,
      });
    },
    told: (name) => events.filter(({ event }) => event === name),
    async close() {
      await web.stop();
      if (store === undefined) await used.close();
    },
  };
}

export interface Page {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Follows nothing by itself. */
export class Client {
  readonly #url: string;
  cookie = '';

  constructor(url: string) {
    this.#url = url;
  }

  async ask(path: string, init: RequestInit = {}): Promise<Page> {
    const headers = new Headers(init.headers);
    if (this.cookie !== '') headers.set('cookie', this.cookie);
    const answer = await fetch(this.#url + path, { redirect: 'manual', ...init, headers });
    const [given] = (answer.headers.get('set-cookie') ?? '').split(';');
    if (given !== undefined && given !== '') this.cookie = given;
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  }

  async post(
    path: string,
    fields: readonly (readonly [string, string])[],
    headers: Record<string, string> = {},
  ): Promise<Page> {
    const body = new URLSearchParams(fields.map(([name, value]) => [name, value]));
    return await this.ask(path, { method: 'POST', body, headers });
  }

  async logIn(user = USER.name, secret = USER.password): Promise<Page> {
    return await this.post('/login', [
      ['user', user],
      ['secret', secret],
      ['next', '/messages'],
    ]);
  }

  /** The token that forms of this session carry. */
  async formToken(): Promise<string> {
    return /name="formToken" value="([^"]+)"/.exec((await this.ask('/')).text)?.[1] ?? '';
  }
}

/** Somebody who has logged in. */
export async function operator(site: Site): Promise<Client> {
  const client = new Client(site.url);
  await client.logIn();
  return client;
}
