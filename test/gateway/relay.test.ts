/** The main job from outside: the real process between a real SMTP client and the sandbox over HTTPS. */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { simpleParser } from 'mailparser';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { sendMail } from '../../src/smtp/client.ts';
import { recordSoap } from '../soap-record.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDER = 'notifications@contoso.com';
const people = [SENDER, 'alice@contoso.com', 'bob@contoso.com', 'carol@contoso.com'];

let place: Folder;
let sandbox: Sandbox;
let gateways: GatewayProcess[];

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({
    mailboxes: people.map((address) => ({ address })),
    record: (document) => recordSoap('relay', document),
  });
  gateways = [];
});

afterEach(async () => {
  for (const gateway of gateways) await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

function gateway(more = '', exchange = ''): GatewayProcess {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange,
    more: more.includes('spool:') ? more : `${more}\nspool: { sqlite: ${place.path}/spool.db }`,
  });
  const started = new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
  gateways.push(started);
  return started;
}

async function until<T>(what: string, look: () => T | undefined | false, seconds = 20): Promise<T> {
  for (let tries = 0; tries < seconds * 20; tries++) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await pause(50);
  }
  throw new Error(`${what} did not happen within ${seconds} s`);
}

const arrived = (count: number, seconds?: number): Promise<true> =>
  until(`arrival of ${count}`, () => sandbox.arrived().length >= count || undefined, seconds).then(() => true);
const simple = (n: number | string): string =>
  `From: ${SENDER}\r\nTo: alice@contoso.com\r\nSubject: mail ${n}\r\nMessage-ID: <${n}@client.test>\r\n\r\nbody ${n}\r\n`;

describe('a mail', () => {
  it('reaches To, Cc and Bcc, its attachment unchanged, the blind recipient unseen, under one id', async () => {
    const process = gateway();
    const port = await process.ready();
    const content = Buffer.from(Array.from({ length: 200_000 }, (_, n) => (n * 31) & 0xff));
    const reply = await sendMail(
      { host: '127.0.0.1', port },
      {
        from: `PBX <${SENDER}>`,
        to: ['Alice <alice@contoso.com>'],
        cc: ['bob@contoso.com'],
        bcc: ['carol@contoso.com'],
        subject: 'Grüße & <b>"quotes"</b> ]]>',
        text: 'hello',
        attachments: [{ filename: 'a.bin', content, contentType: 'application/octet-stream' }],
      },
    );
    const id = /^250 2\.0\.0 queued as (\S+)$/.exec(reply)?.[1];
    expect(id).toBeDefined();
    await arrived(1);
    const [arrival] = sandbox.arrived();
    if (arrival === undefined) throw new Error('nothing');
    const mail = await simpleParser(arrival.submitted);
    const digest = (octets: Buffer | undefined): string =>
      createHash('sha256')
        .update(octets ?? '')
        .digest('hex');
    expect(digest(mail.attachments[0]?.content)).toBe(digest(content));
    expect(mail.subject).toBe('Grüße & <b>"quotes"</b> ]]>');
    for (const address of ['alice@contoso.com', 'bob@contoso.com', 'carol@contoso.com']) {
      const inbox = sandbox.mailbox(address).inbox;
      expect(inbox.length, address).toBe(1);
      expect(inbox[0]?.mime.toString('latin1')).not.toContain('carol');
    }
    expect(sandbox.mailbox(SENDER).sentitems.length).toBe(1);

    const accepted = await process.event('message.accepted');
    const relayed = await process.event('delivery.relayed');
    expect(accepted['id']).toBe(id);
    expect(relayed['id']).toBe(id);
    expect(accepted['messageId']).toBe(relayed['messageId']);
    expect(JSON.stringify(relayed)).toMatch(/"requestId":"[^"]+"/);
    expect(process.noise).toEqual([]);
    expect(JSON.stringify(process.lines)).not.toContain(sandbox.clientSecret);
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    expect(process.errors).toEqual([]);
  });

  it('of one transaction per recipient with the same headers reaches each recipient once', async () => {
    const port = await gateway().ready();
    const smtp = await RawSmtp.open(port);
    const headers = `From: ${SENDER}\r\nTo: alice@contoso.com, bob@contoso.com\r\nCc: carol@contoso.com\r\nSubject: same\r\n`;
    for (const [n, address] of ['alice@contoso.com', 'bob@contoso.com', 'carol@contoso.com'].entries()) {
      await smtp.send(SENDER, [address], `${headers}Message-ID: <${n}@client.test>\r\n\r\nhi\r\n`);
    }
    smtp.end();
    await arrived(3);
    await pause(300);
    for (const address of ['alice@contoso.com', 'bob@contoso.com', 'carol@contoso.com'])
      expect(sandbox.mailbox(address).inbox.length, address).toBe(1);
  });

  it('streams on untouched: body octets are those the client sent', async () => {
    const port = await gateway().ready();
    const body = `${Array.from({ length: 20_000 }, (_, n) => `line ${n} ${'='.repeat(n % 60)} \t`).join('\r\n')}\r\n..two dots\r\n`;
    const smtp = await RawSmtp.open(port);
    await smtp.send(
      SENDER,
      ['alice@contoso.com'],
      `From: ${SENDER}\r\nTo: alice@contoso.com\r\nSubject: octets\r\n\r\n${body.replaceAll('\r\n..', '\r\n...')}`,
    );
    smtp.end();
    await arrived(1);
    const octets = sandbox.arrived()[0]?.submitted.toString('latin1') ?? '';
    expect(octets.slice(octets.indexOf('\r\n\r\n') + 4)).toBe(body);
  });
});

describe('an outage', () => {
  it('of Exchange: mail is accepted all the time and goes out afterwards, in order of arrival, none twice', async () => {
    const process = gateway('pacing: { perMailbox: { concurrency: 4, perMinute: unlimited } }');
    const smtp = await RawSmtp.open(await process.ready());
    await smtp.send(SENDER, ['alice@contoso.com'], simple(0));
    await arrived(1);
    await sandbox.stop();
    for (let n = 1; n <= 20; n++) await smtp.send(SENDER, ['alice@contoso.com'], simple(n));
    await process.event('route.held');
    for (let n = 21; n <= 30; n++) await smtp.send(SENDER, ['alice@contoso.com'], simple(n));
    await pause(1_500);
    await sandbox.start();
    await arrived(31, 60);
    await pause(500);
    expect(sandbox.arrived().map((arrival) => arrival.subject)).toEqual(
      Array.from({ length: 31 }, (_, n) => `mail ${n}`),
    );
    expect((await process.event('route.released'))['route']).toBe('exchange');
    smtp.end();
  });

  it('of the identity server: with a valid token sending goes on', async () => {
    const process = gateway();
    const smtp = await RawSmtp.open(await process.ready());
    await smtp.send(SENDER, ['alice@contoso.com'], simple(1));
    await arrived(1);
    await sandbox.identity.stop();
    for (let n = 2; n <= 5; n++) await smtp.send(SENDER, ['alice@contoso.com'], simple(n));
    await arrived(5);
    smtp.end();
  });

  it('after the request was acted on and before its answer: looked for, not sent again', async () => {
    const process = gateway('retry: { verifyAfter: 1s }');
    const smtp = await RawSmtp.open(await process.ready());
    sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does: { cut: 'afterActing' } });
    await smtp.send(SENDER, ['alice@contoso.com'], simple(1));
    await process.event('delivery.unknown');
    await process.event('delivery.relayed');
    await pause(300);
    expect(sandbox.mailbox('alice@contoso.com').inbox.length).toBe(1);
    smtp.end();
  });
});

describe('the end', () => {
  it('by SIGTERM with mail in flight comes within the budget, with 0, and the next start delivers the rest once', async () => {
    const process = gateway('shutdown: { timeout: 4s }\nretry: { verifyAfter: 1s }\nlog: { level: debug }');
    const smtp = await RawSmtp.open(await process.ready());
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { slow: { beforeActing: 3_600_000 } } });
    for (let n = 1; n <= 6; n++) await smtp.send(SENDER, ['alice@contoso.com'], simple(n));
    await until('a full house', () => process.lines.filter(({ event }) => event === 'delivery.started').length >= 4);
    const begun = Date.now();
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    expect(Date.now() - begun).toBeLessThan(4_500);
    sandbox.clearFaults();
    await gateway('retry: { verifyAfter: 1s }').ready();
    await arrived(6, 30);
    await pause(500);
    expect(sandbox.mailbox('alice@contoso.com').inbox.length).toBe(6);
  });

  it('by SIGTERM lets a message that is being received finish', async () => {
    const process = gateway();
    const port = await process.ready();
    const smtp = await RawSmtp.open(port);
    const idle = await RawSmtp.open(port);
    await smtp.say(`MAIL FROM:<${SENDER}>\r\n`, '250');
    await smtp.say('RCPT TO:<alice@contoso.com>\r\n', '250');
    await smtp.say('DATA\r\n', '354');
    await smtp.write(`${simple(1)}more\r\n`);
    const stopped = process.stop();
    expect(await idle.reply()).toMatch(/^421 /);
    await pause(300);
    await smtp.say('end\r\n.\r\n', '250');
    expect((await stopped).code).toBe(0);
  });

  it('by kill -9 under load loses nothing that was acknowledged, and doubles nothing', async () => {
    const acknowledged = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const process = gateway(
        'retry: { verifyAfter: 1s }\npacing: { perMailbox: { concurrency: 4, perMinute: unlimited } }',
      );
      const port = await process.ready();
      const sessions = Array.from({ length: 4 }, async (_, s) => {
        const smtp = await RawSmtp.open(port);
        for (let n = 0; ; n++) {
          const id = `${round}-${s}-${n}`;
          await smtp.send(SENDER, ['alice@contoso.com'], simple(id));
          acknowledged.add(`<${id}@client.test>`);
        }
      });
      const ended = Promise.allSettled(sessions);
      await until('load', () => acknowledged.size >= 10 * (round + 1));
      await process.stop('SIGKILL');
      await ended;
    }
    await gateway(
      'retry: { verifyAfter: 1s }\npacing: { perMailbox: { concurrency: 4, perMinute: unlimited } }',
    ).ready();
    await until('delivery of all', () => {
      const there = new Set(sandbox.arrived().map((arrival) => arrival.messageId));
      return [...acknowledged].every((id) => there.has(id)) || undefined;
    });
    await pause(2_000);
    const ids = sandbox.arrived().map((arrival) => arrival.messageId);
    expect(ids.length).toBe(new Set(ids).size);
  }, 60_000);
});
