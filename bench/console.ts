/**
 * Pages of the console over a spool of 100,000 messages, as its port gets them: the first one, and searches that find
 * little or nothing and so have to look at everything. Bounded; ends by itself.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Asked } from '../src/console/answer.ts';
import { Meter, firstBoard } from '../src/console/board.ts';
import { createLogin } from '../src/console/login.ts';
import { lookNow } from '../src/console/look.ts';
import { operations } from '../src/console/operations.ts';
import { createSessions } from '../src/console/sessions.ts';
import { createWeb } from '../src/console/web.ts';
import type { OperatedSpool } from '../src/mail/spool.ts';
import { openSqliteSpool } from '../src/spool/sqlite.ts';

const MESSAGES = 100_000;
const ROUNDS = 5;
const AT_ONCE = 500;

export interface Figure {
  readonly what: string;
  /** Milliseconds: the slowest of some. */
  readonly slowest: number;
  /** Messages of the page. */
  readonly found: number;
}

const PAGES: readonly (readonly [what: string, path: string])[] = [
  ['overview', '/'],
  ['first page', '/messages'],
  ['waiting', '/messages?q=waiting'],
  ['a part of an address, found often', '/messages?q=scanner'],
  ['an address of one message', '/messages?q=person-77123@contoso.com'],
  ['nothing', '/messages?q=nobody@nowhere.example'],
  ['nothing, with a letter beyond ASCII', '/messages?q=m%C3%BCller'],
  ['to an address', '/messages?q=to:person-77123@contoso.com'],
  ['from a pattern', '/messages?q=from:*@nowhere.example'],
  ['a Message-ID', '/messages?q=%3Cscan.500@scanner.contoso.com%3E'],
  ['a day', '/messages?q=2020-01-01'],
];

export async function consoleFigures(): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-console-'));
  const spool = await openSqliteSpool({
    path: join(folder, 'spool.db'),
    report: () => undefined,
    maxItems: MESSAGES * 2,
    minFree: 0,
  });
  try {
    for (let number = 0; number < MESSAGES; number += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, (_, at) => one(spool, number + at)));
    const open = pagesOf(spool);
    const figures: Figure[] = [];
    for (const [what, path] of PAGES) {
      let slowest = 0;
      let found = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const begun = performance.now();
        const page = await open(path);
        slowest = Math.max(slowest, performance.now() - begun);
        found = page.split('<tr id="message-').length - 1;
      }
      figures.push({ what, slowest, found });
    }
    return figures;
  } finally {
    await spool.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const BODY = Buffer.from('Subject: one of many\r\n\r\nthe body\r\n');

async function one(spool: OperatedSpool, number: number): Promise<void> {
  const draft = spool.begin();
  await draft.write(BODY);
  await draft.commit([
    {
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
      envelope: {
        reversePath: `scanner-${number % 40}@contoso.com`,
        recipients: [{ address: `person-${number}@contoso.com` }],
      },
      origin: { source: 'smtp', name: 'lan', peer: '192.0.2.7', helo: 'scanner.contoso.com' },
      messageId: `<scan.${number}@scanner.contoso.com>`,
      headerSize: 24,
    },
  ]);
}

/** The pages, for somebody who is logged in. */
function pagesOf(spool: OperatedSpool): (path: string) => Promise<string> {
  const report = (): void => undefined;
  const sessions = createSessions({ idle: Infinity, lasts: Infinity });
  const cookie = `smtp2exchange=${sessions.open('bench')}`;
  const board = firstBoard({ routes: ['exchange'], pickups: [], credentials: new Map() }, Date.now());
  const meter = new Meter(Date.now());
  const answer = createWeb({
    login: createLogin({
      guard: { banned: () => undefined, failed: () => ({ delay: 0, failures: 1 }), succeeded: () => undefined },
      report,
    }),
    sessions,
    operations: operations({ spool, report }),
    look: () =>
      lookNow({
        board: () => board,
        flow: (now) => meter.read(now),
        stats: () => spool.stats(),
        ready: () => ({ ready: true, reasons: [] }),
        now: Date.now,
      }),
    routes: ['exchange'],
    pickups: [],
    lookInto: async () => undefined,
    reload: async () => ({ ok: false, faults: [] }),
    hosts: [],
    gateway: 'gateway.test',
    version: 'bench',
    startedAt: Date.now(),
  });
  return async (path) => {
    const [before = '', query = ''] = path.split('?');
    const asked: Asked = {
      method: 'GET',
      path: before,
      query: new URLSearchParams(query),
      headers: { host: 'localhost', cookie },
      peer: '127.0.0.1',
      isSecure: false,
      body: async () => '',
    };
    const { status, body } = await answer(asked);
    if (status !== 200 || typeof body !== 'string') throw new Error(`${path} is a ${status}`);
    return body;
  };
}
