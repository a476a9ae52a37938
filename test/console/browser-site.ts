/**
 * What the browser looks at: a sandbox, the gateway as a process of its own with the console's login, a pickup, and mail
 * in every state, some of it hostile.
 */
import { mkdirSync } from 'node:fs';
import { hashPassword } from '../../src/smtp/password.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from '../gateway/config-text.ts';
import { mail } from '../gateway/pickup-site.ts';
import { GatewayProcess, folder } from '../gateway/process.ts';
import { RawSmtp } from '../gateway/raw-smtp.ts';
import type { Trap } from './hostile-mail.ts';
import { hostileMail, openTrap } from './hostile-mail.ts';

export const OPERATOR = { name: 'alex', password: 'a long password of Alex' };
export const TOKEN = 'a-token-of-chance-0123456789';
export const SLOW = 'slow@contoso.com';
export const PARKED = 'erp@contoso.com';

export interface BrowserSite {
  readonly url: string;
  readonly sandbox: Sandbox;
  readonly gateway: GatewayProcess;
  readonly trap: Trap;
  /** Ids. */
  readonly delivered: readonly string[];
  readonly queued: readonly string[];
  readonly parked: readonly string[];
  readonly hostile: string;
  send(from: string, to: string, subject: string): Promise<string>;
  close(): Promise<void>;
}

/** A zone in which it is morning now: what is asked for is the mail of this morning. */
function morningZone(): string {
  const ahead = 9 - new Date().getUTCHours();
  // The sign of these names is that of POSIX: behind Greenwich is plus.
  return ahead < -12 ? `Etc/GMT-${ahead + 24}` : `Etc/GMT${ahead > 0 ? '-' : '+'}${Math.abs(ahead)}`;
}

export async function openBrowserSite(): Promise<BrowserSite> {
  const place = folder();
  const addresses = ['notifications@contoso.com', 'fax@contoso.com', 'scanner@contoso.com', SLOW, PARKED];
  const sandbox = await startSandbox({ mailboxes: addresses.map((address) => ({ address })) });
  sandbox.fault({ when: { mailbox: SLOW }, does: { responseCode: 'ErrorServerBusy', backOffMilliseconds: 600_000 } });
  sandbox.fault({ when: { mailbox: PARKED }, does: { responseCode: 'ErrorInvalidRecipients' } });
  const trap = await openTrap();
  mkdirSync(`${place.path}/fax`);
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    mailboxes: [SLOW, PARKED, 'scanner@contoso.com'],
    console: `, token: ${TOKEN}, users: [{ name: ${OPERATOR.name}, passwordHash: "${await hashPassword(OPERATOR.password)}" }]`,
    more: `spool: { sqlite: ${place.path}/spool.db }
bounces: { send: false }
logins: { failures: 6 }
log: { level: debug }
pickup:
  - mailbox: fax@contoso.com
    name: fax
    interval: 1s
    recipients: [{ in: subject, pattern: "[0-9]+", to: $0@fax.local }]
    deliver: { folder: { path: ${place.path}/fax } }
`,
  });
  const gateway = new GatewayProcess(place.write('config.yaml', text), {
    SECRET: sandbox.clientSecret,
    TZ: morningZone(),
  });
  const smtp = await RawSmtp.open(await gateway.ready());
  const data = async (from: string, to: string, message: string): Promise<string> =>
    (await smtp.send(from, [to], message)).split(' ').at(-1) ?? '';
  const send = (from: string, to: string, subject: string): Promise<string> =>
    data(
      from,
      to,
      `From: ${from}\r\nTo: ${to}\r\nSubject: ${subject}\r\nMessage-ID: <${subject.replaceAll(' ', '-')}@contoso.com>\r\n\r\nthe body of ${subject}\r\n`,
    );
  const delivered = [
    await send('scanner@contoso.com', 'alice@contoso.com', 'scan 1'),
    await send('scanner@contoso.com', 'bob@contoso.com', 'scan 2'),
  ];
  const queued = [await send(SLOW, 'alice@contoso.com', 'slow 1'), await send(SLOW, 'carol@contoso.com', 'slow 2')];
  const parked = [
    await send(PARKED, 'alice@contoso.com', 'invoice 1'),
    await send(PARKED, 'dora@contoso.com', 'invoice 2'),
    await send(PARKED, 'emil@contoso.com', 'invoice 3'),
  ];
  const hostile = await data(
    PARKED,
    'victim@contoso.com',
    hostileMail(trap.port, { from: PARKED, to: 'victim@contoso.com' }),
  );
  await sandbox.receive('fax@contoso.com', { mime: mail({ id: 'a', subject: 'to 030123' }) });
  for (const id of delivered) await gateway.line((line) => line.event === 'delivery.relayed' && line['id'] === id);
  for (const id of [...parked, hostile])
    await gateway.line((line) => line.event === 'item.parked' && line['id'] === id);
  await gateway.line((line) => line.event === 'delivery.delayed' && line['mailbox'] === SLOW);
  await gateway.line((line) => line.event === 'delivery.relayed' && line['route'] === 'fax');
  return {
    url: await gateway.consoleUrl(),
    sandbox,
    gateway,
    trap,
    delivered,
    queued,
    parked,
    hostile,
    send,
    async close() {
      smtp.end();
      await gateway.stop();
      await sandbox.close();
      await trap.close();
      place.remove();
    },
  };
}
