/** Picked-up mail on its way into the legacy system, by every way there is; what its sender is told; how soon it is there. */
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashPassword } from '../../src/smtp/password.ts';
import type { InsideGateway } from './inside.ts';
import type { MailFacts, Sandbox } from './pickup-site.ts';
import { ALICE, BOB, faxSandbox, FAX, handedOver, lying, mail, pickingUp, until } from './pickup-site.ts';
import type { LegacyServer } from './pickup-smtp.ts';
import { legacyServer } from './pickup-smtp.ts';
import type { Folder } from './process.ts';
import { folder } from './process.ts';

const WAYS = ['ews', 'graph'] as const;
type Way = (typeof WAYS)[number];
const run = promisify(execFile);

let place: Folder;
let sandbox: Sandbox;
let gateway: InsideGateway | undefined;
let server: LegacyServer;
const more: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  place = folder();
  sandbox = await faxSandbox();
  server = await legacyServer((address) => address.startsWith('999@'));
});
afterEach(async () => {
  await gateway?.stop();
  for (const end of more.splice(0)) await end();
  await server.close();
  await sandbox.close();
  place.remove();
});

/** @param lines of the entry */
async function start(way: Way, lines: readonly string[], others = ''): Promise<InsideGateway> {
  const settings = ['recipients: [{ in: subject, pattern: "[0-9]+", to: $0@fax.local }]', ...lines];
  gateway = await pickingUp(place, sandbox, settings.map((line) => `    ${line}\n`).join(''), {
    transport: way,
    more: others,
    life: 'life',
  });
  return gateway;
}

async function arrive(facts: MailFacts): Promise<void> {
  await sandbox.receive(FAX, { mime: mail(facts) });
}

const fax = (): Promise<void> => arrive({ id: 'a', subject: 'to 030123', body: '.a line\r\n..\r\n.' });

/** What the gateway puts on top is a matter of its own. */
const END = '\r\n\r\n.a line\r\n..\r\n.\r\n';

function smtpTo({ port }: LegacyServer, settings = ''): string {
  return `deliver: { smtp: { host: 127.0.0.1, port: ${port}${settings} } }`;
}

describe.each(WAYS)('mail of a mailbox over %s is handed over', (way) => {
  it('by SMTP', async () => {
    await fax();
    await start(way, [smtpTo(server)]);
    await until('handed over', () => server.taken.length === 1);
    expect(server.taken[0]).toMatchObject({ from: ALICE, to: ['030123@fax.local'] });
    const { message = '' } = server.taken[0] ?? {};
    expect(message.endsWith(END)).toBe(true);
    expect(message).toMatch(/^Received: .*\r\nMessage-ID: <a@contoso.com>\r\n/ms);
    expect(message).toContain('From: alice@contoso.com\r\nTo: fax@contoso.com\r\nSubject: to 030123\r\n');
  });

  it('into a folder as one file', async () => {
    await fax();
    const out = join(place.path, 'out');
    await start(way, [`deliver: { folder: { path: ${out} } }`]);
    await one().line('delivery.relayed');
    const found = handedOver(out).get('<a@contoso.com>');
    expect(found?.facts).toMatchObject({ from: ALICE, to: ['030123@fax.local'] });
    expect(found?.message.endsWith(END)).toBe(true);
  });

  it('into a folder in parts', async () => {
    await fax();
    const out = join(place.path, 'out');
    await start(way, [`deliver: { folder: { path: ${out}, form: parts } }`]);
    await one().line('delivery.relayed');
    const [name = ''] = readdirSync(out);
    expect(readFileSync(join(out, name, 'message.txt'), 'utf8')).toBe('.a line\n..\n.\n');
  });

  it.each(['raw', 'multipart'])('to a webhook, form %s, signed', async (form) => {
    const posts: { readonly headers: IncomingHttpHeaders; readonly body: Buffer }[] = [];
    const web = await listening(
      createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () => {
          posts.push({ headers: request.headers, body: Buffer.concat(chunks) });
          response.writeHead(posts.length === 1 ? 503 : 204, { 'retry-after': '0' }).end();
        });
      }),
    );
    const key = Buffer.alloc(32, 7).toString('base64');
    await fax();
    const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/in`;
    await start(
      way,
      [`deliver: { webhook: { url: "${url}", form: ${form}, secret: whsec_${key} } }`],
      'retry: { intervals: [1s] }',
    );
    await one().line('delivery.relayed');
    expect(posts.length).toBe(2);
    for (const { headers, body } of posts) {
      expect(headers['idempotency-key']).toBe(posts[0]?.headers['idempotency-key']);
      const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.`;
      const mac = createHmac('sha256', Buffer.alloc(32, 7)).update(signed).update(body).digest('base64');
      expect(headers['webhook-signature']).toBe(`v1,${mac}`);
      expect(body.includes(END)).toBe(true);
    }
  });

  it('to a program, which is asked again when it says so', async () => {
    await fax();
    const marker = join(place.path, 'seen');
    const taken = join(place.path, 'taken');
    const script = place.write(
      'take.sh',
      `[ -e ${marker} ] || { touch ${marker}; exit 75; }\n{ echo "$SMTP2EXCHANGE_FROM $SMTP2EXCHANGE_TO"; cat; } > ${taken}\n`,
    );
    await start(way, [`deliver: { command: { run: [/bin/sh, ${script}] } }`], 'retry: { intervals: [1s] }');
    const { attempt } = await one().line('delivery.relayed');
    expect(attempt).toBe(2);
    const text = readFileSync(taken, 'utf8');
    expect(text.startsWith(`${ALICE} 030123@fax.local\n`)).toBe(true);
    expect(text.endsWith(END)).toBe(true);
  });

  it('to a POP3 client, which has it once', async () => {
    await fax();
    await arrive({ id: 'b', subject: 'to 040' });
    const hash = await hashPassword('a pass phrase');
    await start(
      way,
      [`deliver: { pop3: { user: pbx, passwordHash: "${hash}" } }`],
      'pop3: { address: 127.0.0.1, port: 0, tls: none }',
    );
    await until('both are filed', () => lying(sandbox, 'Processed').length === 2);
    const { port } = await one().line('listener.open', { listener: 'pop3' });
    const curl = async (path: string, ...more: readonly string[]): Promise<string> => {
      const user = ['--user', 'pbx:a pass phrase', '--noproxy', '*'];
      return (await run('curl', ['-sS', '--max-time', '10', ...user, ...more, `pop3://127.0.0.1:${port}/${path}`]))
        .stdout;
    };
    expect((await curl('')).trim().split('\n').length).toBe(2);
    const message = await curl('1');
    expect(message.endsWith(END)).toBe(true);
    expect(message).toContain('Message-ID: <a@contoso.com>');
    await curl('1', '-X', 'DELE', '--head');
    await one().line('delivery.relayed', { messageId: '<a@contoso.com>' });
    expect(await curl('1')).toContain('Message-ID: <b@contoso.com>');
  });
});

describe('the sender', () => {
  it.each([
    ['nobody', 'none', ''],
    ['the mailbox', FAX, FAX],
  ])('is %s to the SMTP server where that is set', async (_name, setting, from) => {
    await fax();
    await start('ews', [smtpTo(server, `, from: ${setting}`)]);
    await until('handed over', () => server.taken.length === 1);
    expect(server.taken[0]?.from).toBe(from);
  });

  const reports = (address = ALICE): readonly string[] =>
    sandbox.mailbox(address).inbox.map(({ mime }) => mime.toString());

  it('is told that it was handed over, and that it was not, in the words of the pickup', async () => {
    await arrive({ id: 'good', subject: 'to 030' });
    await arrive({ id: 'bad', subject: 'to 999', from: BOB });
    await arrive({ id: 'robot', subject: 'to 031', header: 'Auto-Submitted: auto-generated\r\n' });
    const words = `subject: "Fax: {subject}", text: "Your fax to {to} was {status}"`;
    const one = await start('ews', [smtpTo(server), `answer: { success: true, failure: true, ${words} }`]);
    await until('told', () => reports().length === 1 && reports(BOB).length === 1);
    const [good = ''] = reports();
    expect(good).toMatch(/^Subject: Fax: to 030$/m);
    expect(good).toContain('Your fax to 030@fax.local was');
    expect(good).toMatch(/^Action: (?:relayed|delivered)/m);
    expect(good).toContain(`From: `);
    const [bad = ''] = reports(BOB);
    expect(bad).toMatch(/^Subject: Fax: to 999$/m);
    expect(bad).toMatch(/^Action: failed/m);
    expect(bad).toContain('5.1.1');
    for (const report of [good, bad]) expect(report).toMatch(/^Auto-Submitted: auto-replied/m);
    await until('the robot', () => server.taken.length === 2);
    await one.stop();
    expect(sandbox.arrived().length).toBe(2);
  });

  it('is told nothing where that is not wanted: what fails is set aside', async () => {
    await arrive({ id: 'good', subject: 'to 030' });
    await arrive({ id: 'bad', subject: 'to 999' });
    const one = await start('graph', [smtpTo(server), 'answer: { failure: false }']);
    await one.line('item.parked', { messageId: '<bad@contoso.com>' });
    await one.line('delivery.relayed', { messageId: '<good@contoso.com>' });
    await one.stop();
    expect(sandbox.arrived()).toEqual([]);
  });
});

describe('from arrival to the SMTP server', () => {
  const LIMIT = 2_000;
  /** Of a busy machine. */
  const SLACK = 1_000;
  const seconds = async (count: number, pauseBefore: () => Promise<void>): Promise<number> => {
    let longest = 0;
    for (let n = 0; n < count; n++) {
      await pauseBefore();
      const begun = performance.now();
      await arrive({ id: `m${n}`, subject: `to ${n}` });
      await until('handed over', () => server.taken.length === n + 1);
      longest = Math.max(longest, (server.taken[n]?.at ?? Infinity) - begun);
    }
    return longest;
  };

  it('takes less than 2 s where the server tells of new mail', async () => {
    await start('ews', [smtpTo(server), 'interval: 1h']);
    await until('listening', () => sandbox.streams() === 1);
    expect(await seconds(5, async () => undefined)).toBeLessThan(LIMIT);
    // A server that restarts forgets who listens: that is noticed, and made good.
    sandbox.loseSubscriptions();
    await until('listening again', () => sandbox.streams() === 1);
    const before = server.taken.length;
    const begun = performance.now();
    await arrive({ id: 'after', subject: 'to 7' });
    await until('handed over', () => server.taken.length === before + 1);
    expect(performance.now() - begun).toBeLessThan(LIMIT);
  });

  it.each(WAYS)('takes no longer than to the next look over %s where it does not', async (way) => {
    const interval = 1_000;
    const one = await start(way, [smtpTo(server), `interval: ${interval}ms`, 'notifications: false']);
    const looks = (): number => one.count('pickup.polled');
    // The longest wait: it comes when a look has just ended.
    const justAfter = async (): Promise<void> => {
      const before = looks();
      await until('a look', () => looks() > before);
    };
    expect(await seconds(2, justAfter)).toBeLessThan(interval + SLACK);
  });
});

function one(): InsideGateway {
  if (gateway === undefined) throw new Error('not started');
  return gateway;
}

async function listening(web: Server): Promise<Server> {
  more.push(() => new Promise((done) => web.close(done)));
  await once(web.listen(0, '127.0.0.1'), 'listening');
  return web;
}
