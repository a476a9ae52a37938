/** Shadow mode from outside: the old server delivers, Exchange is looked at and gets nothing, the log says what would be. */
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
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
let exchange: Sandbox;
/** The server that delivered so far, and whom it delivered to. */
let before: SMTPServer;
let delivered: (readonly string[])[];
let gateway: GatewayProcess;

beforeEach(async () => {
  place = folder();
  const mailboxes = [SENDER, ALICE, BOB].map((address) => ({ address }));
  exchange = await startSandbox({ mailboxes });
  delivered = [];
  before = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    onData(stream, { envelope }, done) {
      stream.resume().once('end', () => {
        delivered.push(envelope.rcptTo.map(({ address }) => address));
        done();
      });
    },
  });
  await new Promise<void>((ready) => before.listen(0, '127.0.0.1', ready));
});
afterEach(async () => {
  await gateway.stop('SIGKILL');
  await exchange.close();
  await new Promise<void>((done) => before.close(() => done()));
  place.remove();
});

it('delivers by the server named, and says what would have been sent', async () => {
  const text = configText({
    sandbox: exchange,
    caFile: place.write('ca.pem', exchange.ca),
    exchange: `  transport: auto\n  graphUrl: ${exchange.graphUrl}\n  shadow: { host: 127.0.0.1, port: ${(before.server.address() as AddressInfo).port}, tls: none }`,
    senders: `{ mailbox: ${SENDER}, rules: [{ from: gone@contoso.com, mailbox: gone@contoso.com }] }`,
    more: `spool: { sqlite: ${place.path}/spool.db }`,
  });
  gateway = new GatewayProcess(place.write('config.yaml', text), { SECRET: exchange.clientSecret });
  const smtp = await RawSmtp.open(await gateway.ready());
  const warning = (line: Record<string, unknown>): boolean => line['transport'] === 'shadow';
  expect((await gateway.line((line) => line.event === 'transport.warning' && warning(line)))['warning']).toContain(
    'nothing is sent through Exchange',
  );
  exchange.fault({ when: { operation: 'FindItem', count: 1 }, does: { responseCode: 'ErrorImpersonateUserDenied' } });
  await smtp.send(SENDER, [ALICE, BOB], `From: scan@contoso.com\r\nTo: ${ALICE}\r\nMessage-ID: <1@test>\r\n\r\nx\r\n`);
  const of = (transport: string) => (line: Record<string, unknown>) =>
    line['event'] === 'shadow.rehearsed' && line['transport'] === transport;
  const facts = { messageId: '<1@test>', mailbox: SENDER, needsSendAs: true, recipientCount: 2, blindCount: 1 };
  expect(await gateway.line(of('ews'))).toMatchObject({ ...facts, level: 'warn', reached: 'no' });
  expect(await gateway.line(of('graph'))).toMatchObject({ ...facts, level: 'info', reached: 'yes' });
  expect(await gateway.event('delivery.relayed')).toMatchObject({ transport: 'shadow' });
  smtp.end();
  await vi.waitUntil(() => delivered.length === 1);
  expect(delivered).toEqual([[ALICE, BOB]]);
  expect(exchange.arrived()).toEqual([]);
});
