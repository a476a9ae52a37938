/** The way out by SMTP from outside: the real process between a real SMTP client and the sandbox's submission. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { sendMail } from '../../src/smtp/client.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';

const SENDER = 'notifications@contoso.com';
const people = [SENDER, 'alice@contoso.com', 'bob@contoso.com', 'carol@contoso.com'];

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: people.map((address) => ({ address })) });
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: `  transport: smtp\n  smtp: { host: 127.0.0.1, port: ${sandbox.smtp.port} }`,
    more: `spool: { sqlite: ${place.path}/spool.db }\nretry: { intervals: [300ms], verifyAfter: 300ms }`,
  });
  gateway = new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
});

afterEach(async () => {
  await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

async function until(what: string, look: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (look()) return;
    await pause(50);
  }
  throw new Error(`${what} did not happen within 20 s`);
}

async function send(to: readonly string[]): Promise<void> {
  const port = await gateway.ready();
  await sendMail({ host: '127.0.0.1', port }, { from: SENDER, to, subject: 'by SMTP', text: 'hello' });
}

const got = (address: string, subject: string): number =>
  sandbox.mailbox(address).inbox.filter((item) => item.subject.includes(subject)).length;

describe('a message that goes out by SMTP', () => {
  it('reaches who is taken at once and once, who is put off later, and its sender hears of who is refused', async () => {
    sandbox.smtp.fault({ at: 'rcpt', about: 'bob@', reply: '450 4.2.0 Greylisted' });
    sandbox.smtp.fault({ at: 'rcpt', about: 'carol@', reply: '550 5.1.10 RecipientNotFound' });
    await send(['alice@contoso.com', 'bob@contoso.com', 'carol@contoso.com']);
    await until('delivery to bob', () => got('bob@contoso.com', 'by SMTP') === 1);
    await until('a bounce', () => sandbox.mailbox(SENDER).inbox.length === 1);
    expect(got('alice@contoso.com', 'by SMTP')).toBe(1);
    expect(got('carol@contoso.com', 'by SMTP')).toBe(0);
    const bounce = sandbox.mailbox(SENDER).inbox[0]?.mime.toString() ?? '';
    expect(bounce).toContain('Final-Recipient: rfc822; carol@contoso.com');
    expect(bounce).not.toMatch(/Final-Recipient: rfc822; (?:alice|bob)@/);
    expect(bounce).toContain('Status: 5.1.10');
    expect(bounce).toContain('Diagnostic-Code: smtp; 550 5.1.10');
    const split = gateway.lines.filter((line) => line['event'] === 'item.split');
    expect(split.map((line) => line['recipients'])).toEqual([['bob@contoso.com'], ['carol@contoso.com']]);
    expect(await gateway.stop()).toEqual({ code: 0, signal: null });
    expect(gateway.errors).toEqual([]);
    expect(JSON.stringify(gateway.lines)).not.toContain(sandbox.clientSecret);
    expect(JSON.stringify(gateway.lines)).not.toMatch(/eyJ/);
  });

  it('is sent once more at most when no answer came, and the doubt is counted', async () => {
    sandbox.smtp.fault({ at: 'message', cut: true, acts: true, times: 5 });
    await send(['alice@contoso.com']);
    const parked = await gateway.event('item.parked');
    expect(String(parked['why'])).toContain('SMTP cannot be asked');
    expect(got('alice@contoso.com', 'by SMTP')).toBe(2);
    const looks = gateway.lines.filter((line) => line['event'] === 'delivery.verified');
    expect(looks.map((line) => line['found'])).toEqual(['unknowable', 'unknowable']);
  });

  it('waits as long as the login is refused, and nobody is bounced for that', async () => {
    const reply = '535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.';
    sandbox.smtp.fault({ at: 'auth', reply, times: 1 });
    await send(['alice@contoso.com']);
    const held = await gateway.event('route.held');
    expect(held).toMatchObject({ misconfigured: true, cause: 'SMTP 535 5.7.139' });
    expect(String(held['reason'])).toContain('Set-TransportConfig -SmtpClientAuthenticationDisabled $false');
    expect(sandbox.mailbox(SENDER).inbox).toHaveLength(0);
  });
});
