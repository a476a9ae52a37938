/** Two-step sending by the real process, killed between the steps; and what one step without a copy cannot know. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { recordSoap } from '../soap-record.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDER = 'notifications@contoso.com';
const READER = 'alice@contoso.com';

let place: Folder;
let sandbox: Sandbox;
let gateways: GatewayProcess[];
/** SOAP documents the sandbox took or gave. */
let documents: string[];

beforeEach(async () => {
  place = folder();
  documents = [];
  sandbox = await startSandbox({
    mailboxes: [SENDER, READER].map((address) => ({ address })),
    record: (document) => {
      documents.push(document.toString('latin1'));
      recordSoap('two-step', document);
    },
  });
  gateways = [];
});

afterEach(async () => {
  for (const gateway of gateways) await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

function gateway(exchange: string): GatewayProcess {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    exchange,
    more: `retry: { verifyAfter: 1s }\nspool: { sqlite: ${place.path}/spool.db }`,
  });
  const started = new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
  gateways.push(started);
  return started;
}

async function send(process: GatewayProcess, fields = ''): Promise<void> {
  const smtp = await RawSmtp.open(await process.ready());
  const header = `From: ${SENDER}\r\nTo: ${READER}\r\nSubject: mail\r\nMessage-ID: <1@client.test>\r\n${fields}`;
  await smtp.send(SENDER, [READER], `${header}\r\nbody\r\n`);
  smtp.end();
}

const requests = (operation: string): number =>
  documents.filter((document) => document.includes(`${operation}>`) && document.includes('ExchangeImpersonation'))
    .length;

describe('a message in two steps', () => {
  it.each([
    ['with a copy, and kill -9 when SendItem has acted', true, { silent: 'afterActing' }],
    ['without one, and kill -9 when SendItem has acted', false, { silent: 'afterActing' }],
    ['without one, and kill -9 before SendItem acts', false, { silent: 'beforeActing' }],
  ] as const)('%s: delivered once, uploaded once, no draft left', async (_what, saves, does) => {
    const exchange = `  saveToSentItems: ${saves}\n  twoStep: { above: 0B }`;
    sandbox.fault({ when: { operation: 'SendItem', count: 1 }, does });
    const first = gateway(exchange);
    await send(first);
    // What a silent server does is done as soon as it has the request.
    await vi.waitFor(() => expect(requests('SendItem')).toBe(1), { timeout: 10_000, interval: 10 });
    const sent = does.silent === 'afterActing' ? 1 : 0;
    await vi.waitFor(() => expect(sandbox.arrived().length).toBe(sent), { timeout: 5_000, interval: 10 });
    await first.stop('SIGKILL');
    const next = gateway(exchange);
    const verified = await next.event('delivery.verified');
    await next.event('delivery.relayed');
    expect(verified['found']).toBe(does.silent === 'afterActing' ? 'relayed' : 'absent');
    expect(sandbox.mailbox(READER).inbox.length).toBe(1);
    expect(sandbox.mailbox(SENDER).drafts).toEqual([]);
    expect(sandbox.mailbox(SENDER).sentitems.length).toBe(saves ? 1 : 0);
    expect(requests('CreateItem')).toBe(1);
  });
});

it('X-Precious: yes sends a small message in two steps, and does not reach its reader', async () => {
  const process = gateway('');
  await send(process, 'X-Precious: yes\r\n');
  await process.event('delivery.relayed');
  expect(requests('SendItem')).toBe(1);
  expect(sandbox.mailbox(READER).inbox[0]?.mime.toString('latin1')).not.toMatch(/precious/i);
});

it('in one step without a copy a lost answer cannot be cleared up: counted, and sent once more', async () => {
  const process = gateway('  saveToSentItems: false');
  sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does: { cut: 'beforeActing' } });
  await send(process);
  expect((await process.event('delivery.verified'))['found']).toBe('unknowable');
  await process.event('delivery.relayed');
  const metrics = await (await fetch(new URL('/metrics', await process.consoleUrl()))).text();
  expect(metrics).toMatch(/^smtp2exchange_verifications_total\{[^}]*found="unknowable"[^}]*\} 1$/m);
  expect(sandbox.mailbox(READER).inbox.length).toBe(1);
});
