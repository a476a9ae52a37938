/** Alarms from outside: the real process in front of the sandbox, a real webhook, command and mail server. */
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { SMTPServer } from 'smtp-server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import { withoutSpool } from '../watch/exposition.ts';
import { configText } from './config-text.ts';
import type { Folder, LogLine } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDER = 'notifications@contoso.com';
const TOKEN = 'T0KEN-of-the-webhook';

interface Posted {
  readonly notice: string;
  readonly alarm: string;
  readonly reason: string;
  readonly title: string;
  readonly text: string;
}

let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess | undefined;
let web: Server;
let posted: Posted[];
let beats: number;
/** What the webhook answers. */
let status: number;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [SENDER, 'alice@contoso.com'].map((address) => ({ address })) });
  posted = [];
  beats = 0;
  status = 200;
  web = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      if (request.method === 'GET') beats++;
      else if (status === 200) posted.push(JSON.parse(body) as Posted);
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  await gateway?.stop('SIGKILL');
  gateway = undefined;
  await sandbox.close();
  web.closeAllConnections();
  web.close();
  place.remove();
});

const url = (path: string): string => `http://127.0.0.1:${(web.address() as AddressInfo).port}${path}?sig=${TOKEN}`;

interface More {
  readonly alarms?: string;
  readonly to?: string;
  readonly exchange?: string;
  readonly more?: string;
  readonly secret?: string;
  /** Instead of the client secret. */
  readonly credential?: string;
  readonly spool?: string;
}

async function start({
  alarms = '',
  to = '',
  exchange = '',
  more = '',
  secret,
  credential = 'clientSecret: ${SECRET}',
  spool = '',
}: More = {}): Promise<GatewayProcess> {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange,
    more: `${more}
spool: { sqlite: ${place.path}/spool.db, minFree: 1MB${spool} }
alarms:
  to:
    - { name: hook, webhook: "\${HOOK}" }
${to}
  repeat: 1s
${alarms}`,
  }).replace('clientSecret: ${SECRET}', () => credential);
  gateway = new GatewayProcess(place.write('config.yaml', text), {
    SECRET: secret ?? sandbox.clientSecret,
    HOOK: url('/hook'),
    BEAT: url('/beat'),
  });
  await gateway.ready();
  return gateway;
}

async function send(process: GatewayProcess): Promise<void> {
  const smtp = await RawSmtp.open(await process.ready());
  await smtp.send(
    SENDER,
    ['alice@contoso.com'],
    `From: ${SENDER}\r\nTo: alice@contoso.com\r\nSubject: s\r\n\r\nbody\r\n`,
  );
  smtp.end();
}

async function until<T>(what: string, look: () => T | undefined | false, seconds = 20): Promise<T> {
  for (let tries = 0; tries < seconds * 40; tries++) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await pause(25);
  }
  throw new Error(`${what} did not happen within ${seconds} s: ${JSON.stringify(posted)}`);
}

const notice = (kind: string, reason: string): Promise<Posted> =>
  until(`${kind} ${reason}`, () => posted.find((one) => one.notice === kind && one.reason === reason));
const count = (lines: readonly LogLine[], name: string): number => lines.filter(({ event }) => event === name).length;

async function metric(process: GatewayProcess, series: string): Promise<number> {
  const text = withoutSpool(await (await fetch(`${await process.consoleUrl()}/metrics`)).text());
  const line = text.split('\n').find((one) => one.startsWith(`smtp2exchange_${series} `));
  return Number(line?.split(' ')[1]);
}

/** The causes of a closed EWS, most likely first, each with its command. */
const CAUSES = [
  'Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy | fl EwsEnabled,EwsAllowedAppIDs',
  'Set-OrganizationConfig -EwsEnabled $true -EwsAllowedAppIDs "<existing list>,',
  'Get-CASMailbox notifications@contoso.com | fl EwsEnabled',
  'Set-CASMailbox notifications@contoso.com -EwsEnabled $true',
  '-Resource notifications@contoso.com',
  'Kiosk, F1 or F3 licence',
  'fl EwsApplicationAccessPolicy,EwsAllowList,EwsBlockList',
  'Conditional access',
];

function expectInOrder(text: string): void {
  const places = CAUSES.map((cause) => text.indexOf(cause));
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
}

describe('EWS closed to the gateway (403)', () => {
  it('holds the mail, bounces none, names the causes in log and alarm, and sends it once EWS is open', async () => {
    sandbox.fault({ does: { status: 403, body: 'Forbidden' } });
    const process = await start();
    await send(process);
    const alarm = await notice('raised', 'ewsClosed');
    expect(alarm.title).toBe('Exchange has closed EWS to this gateway (HTTP 403)');
    expectInOrder(alarm.text);
    expect(alarm.text).toContain(`-EwsAllowedAppIDs "<existing list>,${sandbox.clientId}"`);
    expectInOrder(String((await process.event('route.held'))['reason']));
    expect((await process.event('alarm.raised'))['alarm']).toBe('ewsClosed:exchange');
    expect(await metric(process, 'alarms_active{reason="ewsClosed"}')).toBe(1);
    expect(await metric(process, 'queue_items{state="queued"}')).toBe(1);
    await notice('repeated', 'ewsClosed');
    for (const name of ['delivery.bounced', 'item.parked', 'delivery.failed'])
      expect(count(process.lines, name)).toBe(0);

    // A restart tries at once.
    await process.stop();
    sandbox.clearFaults();
    const next = await start();
    await next.event('delivery.relayed');
    expect(sandbox.mailbox('alice@contoso.com').inbox).toHaveLength(1);
  });
});

describe('credentials', () => {
  it('that are wrong are one alarm, which shows no secret', async () => {
    const process = await start({ secret: 'not-the-secret~of-the-app' });
    await send(process);
    const alarm = await notice('raised', 'credentials');
    expect(alarm.title).toMatch(/^The gateway gets no access token for exchange \(AADSTS7000215\)$/);
    expect(alarm.text).toContain("Paste the secret's Value");
    await process.event('route.held');
    await notice('repeated', 'credentials');
    expect(new Set(posted.map(({ reason }) => reason))).toEqual(new Set(['credentials']));
    expect(JSON.stringify([posted, process.lines])).not.toContain('not-the-secret');
    expect(sandbox.arrived()).toHaveLength(0);
  });
});

describe('the certificate of the app registration', () => {
  it('that ends soon is an alarm at the start, by its own date, and over when another one is taken on SIGHUP', async () => {
    const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + 5 * 86_400_000)];
    const pair = await makeCertificate({ commonName: 'app', keyType: 'rsa', notBefore, notAfter, use: 'server' });
    const certificate = `{ certFile: ${place.write('a.pem', pair.cert)}, keyFile: ${place.write('a.key', pair.key)} }`;
    const process = await start({ credential: `certificate: ${certificate}` });
    const alarm = await notice('raised', 'appCertificateExpiring');
    expect(alarm.title).toBe(
      `The certificate of the app registration expires on ${notAfter.toISOString().slice(0, 10)}`,
    );
    const left = await metric(process, 'credential_remaining_seconds{account="exchange"}');
    expect(Math.abs(left - 5 * 86_400)).toBeLessThan(60);

    const next = await makeCertificate({
      commonName: 'app',
      keyType: 'rsa',
      notBefore,
      notAfter: new Date(Date.now() + 90 * 86_400_000),
      use: 'server',
    });
    place.write('a.pem', next.cert);
    place.write('a.key', next.key);
    process.child.kill('SIGHUP');
    await process.event('credential.loaded');
    expect(await metric(process, 'credential_remaining_seconds{account="exchange"}')).toBeGreaterThan(89 * 86_400);
    await notice('recovered', 'appCertificateExpiring');
  });
});

describe('parked mail', () => {
  it('is told by every way there is, repeated, and found again by the next start, beside a secret that ends soon', async () => {
    const out = `${place.path}/page.txt`;
    const page = place.write(
      'page',
      `#!/bin/sh\n{ echo "$ALARM_NOTICE $ALARM_REASON $ALARM_GATEWAY"; cat; } >> ${out}\n`,
    );
    chmodSync(page, 0o700);
    const mails: string[] = [];
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      onData(stream, session, done) {
        let text = '';
        stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
        stream.on('end', () => {
          mails.push(`${session.envelope.rcptTo.map(({ address }) => address).join()}\n${text}`);
          done();
        });
      },
    });
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    const { port } = server.server.address() as AddressInfo;
    const to = `    - { name: pager, command: [${page}] }
    - { name: operator, mail: { to: operator@contoso.com, host: 127.0.0.1, port: ${port} } }`;
    try {
      sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorInvalidRecipients' } });
      const process = await start({ to });
      await send(process);
      // The message is refused, its bounce too: so it is parked.
      const alarm = await notice('raised', 'mailParked');
      expect(alarm.title).toBe('1 message set aside, waiting for an operator');
      expect(alarm.text).toContain('its sender could not be told');
      await notice('repeated', 'mailParked');
      const paged = await until(
        'the page',
        () => existsSync(out) && readFileSync(out, 'utf8').includes('\n{') && readFileSync(out, 'utf8'),
      );
      expect(paged).toMatch(/^raised mailParked gateway\.test\n\{"notice":"raised","alarm":"mailParked",/);
      const mail = await until('the mail', () => mails[0]);
      expect(mail).toMatch(/^operator@contoso\.com\n/);
      expect(mail).toMatch(/^From: notifications@contoso\.com\r$/m);
      expect(mail).toMatch(/^Subject: Alarm: 1 message set aside, waiting for an operator\r?\n? \(gateway\.test\)\r$/m);
      expect(count(process.lines, 'alarm.failed')).toBe(0);
      await process.stop();
      posted = [];
      const soon = new Date(Date.now() + 5 * 86_400_000).toISOString().slice(0, 10);
      const next = await start({ exchange: `  expires: ${soon}` });
      await notice('raised', 'mailParked');
      expect((await notice('raised', 'secretExpiring')).text).toContain(`It expires on ${soon} by exchange.expires`);
      const left = await metric(next, 'credential_remaining_seconds{account="exchange"}');
      expect(left).toBeGreaterThan(3 * 86_400);
      expect(left).toBeLessThanOrEqual(5 * 86_400);
    } finally {
      await new Promise<void>((done) => server.close(() => done()));
    }
  });
});

describe('an old message', () => {
  it('is an alarm, and its end is told', async () => {
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorInternalServerTransientError' } });
    const process = await start({ alarms: '  oldestAfter: 1s', more: 'retry: { intervals: [1s] }' });
    await send(process);
    await notice('raised', 'mailOld');
    sandbox.clearFaults();
    await process.event('delivery.relayed');
    expect((await notice('recovered', 'mailOld')).text).toMatch(/^It is over\. It lasted /);
    expect((await process.event('alarm.recovered'))['alarm']).toBe('mailOld');
    expect(await metric(process, 'alarms_active{reason="mailOld"}')).toBe(0);
  });
});

describe('a channel that fails', () => {
  it('is told without its address, holds up nothing, and not the end', async () => {
    status = 503;
    sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does: { responseCode: 'ErrorAccessDenied' } });
    const process = await start({
      alarms: '  heartbeat: { url: "${BEAT}", every: 1s }',
      to: '    - { name: absent, command: [/no/such/program] }',
    });
    await send(process);
    const failed = (channel: string): Promise<LogLine> =>
      process.line((line) => line.event === 'alarm.failed' && line['channel'] === channel);
    expect(await failed('hook')).toMatchObject({ level: 'warn', attempt: 1, givenUp: false });
    expect(await failed('absent')).toMatchObject({ level: 'error', givenUp: true });
    expect((await failed('heartbeat'))['failure']).toMatch(/^127\.0\.0\.1:\d+ answered HTTP 503$/);
    // What the alarm is about: one mailbox, not the route.
    expect(await process.event('alarm.raised')).toMatchObject({
      alarm: `mailboxMisconfigured:exchange/${SENDER}`,
      text: expect.stringContaining('Application EWS.AccessAsApp') as string,
    });
    expect(count(process.lines, 'route.held')).toBe(0);
    expect(await metric(process, 'alarm_failures_total')).toBeGreaterThanOrEqual(3);
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    expect(JSON.stringify([process.lines, process.errors, process.noise])).not.toContain(TOKEN);
    expect(process.errors).toEqual([]);
  });
});

describe('the sign of life', () => {
  const heartbeat = '  heartbeat: { url: "${BEAT}", every: 1s }';

  it('comes while the gateway is well', async () => {
    await start({ alarms: heartbeat });
    await until('two beats', () => beats >= 2);
    expect(posted).toEqual([]);
  });

  it('does not come while it has no room, which is an alarm', async () => {
    sandbox.fault({ does: { status: 503 } });
    const process = await start({ alarms: heartbeat, spool: ', maxItems: 1' });
    await send(process);
    expect((await notice('raised', 'spoolFull')).text).toContain('spool.maxItems');
    await notice('repeated', 'spoolFull');
    const before = beats;
    posted = [];
    await notice('repeated', 'spoolFull');
    expect(beats).toBe(before);
  });
});
