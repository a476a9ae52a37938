/** The gateway with Microsoft Graph as its way out: the real process between a real SMTP client and the sandbox. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDER = 'notifications@contoso.com';
const ALICE = 'alice@contoso.com';
const BOB = 'bob@contoso.com';
let place: Folder;
let sandbox: Sandbox;
let gateway: GatewayProcess;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({ mailboxes: [SENDER, ALICE, BOB].map((address) => ({ address })) });
});
afterEach(async () => {
  await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

function start(exchange: string): GatewayProcess {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange: `  transport: graph\n  graphUrl: ${sandbox.graphUrl}\n${exchange}`,
    more: `retry: { verifyAfter: 1s }\nspool: { sqlite: ${place.path}/spool.db }`,
  });
  return new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
}

it('sends small and large mail, each once, also where an answer is lost', async () => {
  gateway = start('');
  const smtp = await RawSmtp.open(await gateway.ready());
  sandbox.fault({ when: { operation: 'sendMail', count: 1 }, does: { cut: 'afterActing' } });
  const header = `From: ${SENDER}\r\nTo: ${ALICE}\r\nMessage-ID: <one@test>\r\n`;
  await smtp.send(SENDER, [ALICE, BOB], `${header}Subject: small\r\n\r\nx\r\n`);
  expect((await gateway.event('delivery.relayed'))['cause']).toBe('found in Sent Items');
  const attachment = `${'x'.repeat(998)}\r\n`.repeat(5000);
  await smtp.send(
    SENDER,
    [ALICE, BOB],
    `From: ${SENDER}\r\nTo: ${ALICE}\r\nMessage-ID: <two@test>\r\nContent-Type: application/octet-stream\r\n\r\n${attachment}`,
  );
  await gateway.line((line) => line.event === 'delivery.relayed' && line['messageId'] === '<two@test>', 20);
  smtp.end();
  expect(sandbox.arrived().map(({ messageId, to, bcc }) => [messageId, to, bcc])).toEqual([
    ['<one@test>', [ALICE], [BOB]],
    ['<two@test>', [ALICE], [BOB]],
  ]);
  expect([sandbox.mailbox(BOB).inbox.length, sandbox.mailbox(SENDER).drafts.length]).toEqual([2, 0]);
});

it('says at the start that Graph keeps copies', async () => {
  gateway = start('  saveToSentItems: false');
  await gateway.ready();
  expect((await gateway.event('transport.warning'))['warning']).toContain('Sent Items');
});
