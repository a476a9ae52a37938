/** An alarm as a mail to a real SMTP server, plain and with STARTTLS. */
import type { AddressInfo } from 'node:net';
import { simpleParser } from 'mailparser';
import { SMTPServer } from 'smtp-server';
import type { SMTPServerOptions } from 'smtp-server';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sendMail } from '../../src/smtp/client.ts';
import type { KeyPair } from '../../src/tls/selfsigned.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import { mailChannel, mailOf } from '../../src/watch/alarm-mail.ts';
import { notice } from './alarm-notices.ts';

let pair: KeyPair;
let server: SMTPServer | undefined;

beforeAll(async () => {
  const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + 3_600_000)];
  pair = await makeCertificate({ commonName: 'other.test', keyType: 'ec', notBefore, notAfter, use: 'server' });
});

afterEach(() => new Promise<void>((done) => (server === undefined ? done() : server.close(() => done()))));

interface Taken {
  readonly text: string;
  readonly secure: boolean;
  readonly helo: string;
  readonly from: string;
  readonly to: readonly string[];
}

/** @returns the port, and what it took */
async function listen(options: SMTPServerOptions): Promise<{ readonly port: number; readonly taken: Taken[] }> {
  const taken: Taken[] = [];
  const listening = new SMTPServer({
    ...pair,
    authOptional: true,
    onData(stream, session, done) {
      let text = '';
      stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        taken.push({
          text,
          secure: session.secure,
          helo: session.hostNameAppearsAs,
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
        });
        done();
      });
    },
    ...options,
  });
  server = listening;
  await new Promise<void>((ready) => listening.listen(0, '127.0.0.1', ready));
  return { port: (listening.server.address() as AddressInfo).port, taken };
}

/** As gateway.ts does it. */
const channel = (port: number) =>
  mailChannel('operator', (mail) =>
    sendMail(
      { host: '127.0.0.1', port, name: 'gateway.contoso.com', tls: 'offered', timeout: 5_000 },
      { ...mail, from: 'gateway@contoso.com', to: ['operator@contoso.com'] },
    ),
  );
const { signal } = new AbortController();

describe('the mail', () => {
  it.each([
    ['in the clear where STARTTLS is not offered', { disabledCommands: ['STARTTLS'] }, false],
    ['encrypted where it is, whatever the certificate', {}, true],
  ])('goes %s', async (_, options, secure) => {
    const { port, taken } = await listen(options);
    expect(await channel(port).send(notice(), signal)).toEqual({ ok: true });
    const [one] = taken;
    if (one === undefined) throw new Error('nothing came');
    expect(one).toMatchObject({
      secure,
      helo: 'gateway.contoso.com',
      from: 'gateway@contoso.com',
      to: ['operator@contoso.com'],
    });
    const mail = await simpleParser(one.text);
    expect(mail.subject).toBe('Alarm: Exchange has closed EWS to this gateway (HTTP 403) (gateway.contoso.com)');
    expect(mail.text).toBe(
      'Nothing is sent & kept.\nSet-OrganizationConfig -EwsAllowedAppIDs "<existing list>,c1d2"\n\n' +
        'alarm    ewsClosed:exchange\ngateway  gateway.contoso.com\nsince    2026-11-24T02:59:00Z\n',
    );
    expect(mail.headers.get('auto-submitted')).toBe('auto-generated');
    expect(mail.headers.get('x-auto-response-suppress')).toBe('All');
    expect(one.text).toMatch(/^Importance: high$/m);
    expect(mail.messageId).toMatch(/^<.+@.+>$/);
    expect(mail.date).toBeInstanceOf(Date);
  });

  it('is urgent only while something critical lasts', () => {
    expect(mailOf(notice({ severity: 'warning' })).headers).not.toHaveProperty('Importance');
    expect(mailOf(notice({ notice: 'recovered' })).headers).not.toHaveProperty('Importance');
  });

  it('cannot be given a header by a title', async () => {
    const { port, taken } = await listen({ disabledCommands: ['STARTTLS'] });
    await channel(port).send(notice({ title: 'x\r\nBcc: victim@contoso.com' }), signal);
    expect(taken[0]?.to).toEqual(['operator@contoso.com']);
    expect(taken[0]?.text).not.toMatch(/^Bcc:/m);
  });

  it('that a server refuses fails with what it said', async () => {
    const { port } = await listen({
      disabledCommands: ['STARTTLS'],
      onRcptTo: (_address, _session, done) => done(Object.assign(new Error('no such user'), { responseCode: 550 })),
    });
    await expect(channel(port).send(notice(), signal)).rejects.toThrow(
      /127\.0\.0\.1:\d+ did not take the mail .*550 no such user/,
    );
  });
});
