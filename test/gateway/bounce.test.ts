/** Notices to senders from outside: the real process, a real SMTP session, and what then lies in the mailboxes of the sandbox. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { simpleParser } from 'mailparser';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Delivered, Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { withoutSpool } from '../watch/exposition.ts';
import { configText } from './config-text.ts';
import type { Folder } from './process.ts';
import { folder, GatewayProcess, root } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

const SENDING = 'notifications@contoso.com';
const SENDER = 'alice@contoso.com';
const POSTMASTER = 'postmaster@contoso.com';
const refusal = { responseCode: 'ErrorInvalidRecipients' };
const trouble = { responseCode: 'ErrorInternalServerTransientError' };

let place: Folder;
let sandbox: Sandbox;
let gateways: GatewayProcess[];
let smtp: RawSmtp;

beforeEach(async () => {
  place = folder();
  sandbox = await startSandbox({
    mailboxes: [SENDING, SENDER, POSTMASTER, 'bob@contoso.com'].map((address) => ({ address })),
  });
  gateways = [];
});

afterEach(async () => {
  for (const gateway of gateways) await gateway.stop('SIGKILL');
  await sandbox.close();
  place.remove();
});

async function gateway(more = ''): Promise<GatewayProcess> {
  const text = configText({
    sandbox,
    caFile: place.write('ca.pem', sandbox.ca),
    more: `${more}\nspool: { sqlite: ${place.path}/spool.db }`,
  });
  const started = new GatewayProcess(place.write('config.yaml', text), { SECRET: sandbox.clientSecret });
  gateways.push(started);
  smtp = await RawSmtp.open(await started.ready());
  return started;
}

const mail = (header = '', body = 'the body'): string =>
  `From: ${SENDING}\r\nTo: bob@contoso.com\r\nSubject: Fax 12\r\nMessage-ID: <fax.12@pbx.test>\r\n${header}\r\n${body}\r\n`;
const inbox = (address: string): readonly Delivered[] => sandbox.mailbox(address).inbox;
const refuseOnce = (): void => sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does: refusal });

async function delivered(process: GatewayProcess, notice: unknown): Promise<void> {
  await process.line(({ event, id }) => event === 'delivery.relayed' && id === notice);
}

/** The operator's command. */
async function queue(...words: readonly string[]): Promise<string> {
  const args = [join(root, 'src/main.ts'), 'queue', ...words, '--config', join(place.path, 'config.yaml')];
  const { stdout } = await promisify(execFile)(process.execPath, args, { encoding: 'latin1', maxBuffer: 2 ** 24 });
  return stdout;
}

async function queueItems(process: GatewayProcess, state: string): Promise<number> {
  const metrics = withoutSpool(await (await fetch(`${await process.consoleUrl()}/metrics`)).text());
  return Number(new RegExp(`^smtp2exchange_queue_items\\{state="${state}"\\} (\\d+)$`, 'm').exec(metrics)?.[1]);
}

describe('a message that Exchange refuses for good', () => {
  it("comes back to its sender's mailbox, once, also after the next start", async () => {
    const first = await gateway();
    refuseOnce();
    const reply = await smtp.send(SENDER, ['bob@contoso.com'], mail());
    const bounced = await first.event('delivery.bounced');
    expect(reply).toContain(String(bounced['id']));
    expect(bounced).toMatchObject({
      to: SENDER,
      recipients: ['bob@contoso.com'],
      code: '5.1.3',
      why: 'refused for good',
    });
    await delivered(first, bounced['notice']);
    expect(await queueItems(first, 'bounced')).toBe(1);
    expect(await queueItems(first, 'parked')).toBe(0);
    smtp.end();
    await first.stop('SIGKILL');
    await gateway('retry: { verifyAfter: 1s }');
    await pause(2_500);

    expect(inbox('bob@contoso.com')).toHaveLength(0);
    expect(inbox(SENDER)).toHaveLength(1);
    const arrived = sandbox.arrived()[0]?.submitted ?? Buffer.alloc(0);
    const parsed = await simpleParser(arrived);
    expect(parsed.from?.value).toEqual([{ name: 'Mail Delivery System', address: SENDING }]);
    expect(parsed.subject).toBe('Not delivered: Fax 12');
    expect(parsed.inReplyTo).toBe('<fax.12@pbx.test>');
    expect(parsed.headers.get('auto-submitted')).toBe('auto-replied');
    expect(parsed.headers.get('content-type')).toMatchObject({
      value: 'multipart/report',
      params: { 'report-type': 'delivery-status' },
    });
    expect(parsed.text).toContain('Final-Recipient: rfc822; bob@contoso.com');
    expect(parsed.text).toContain('Status: 5.1.3');
    expect(arrived.toString()).not.toContain('the body');
  });

  it('comes back whole for RET=FULL, with ENVID and ORCPT', async () => {
    const process = await gateway();
    refuseOnce();
    await smtp.say(`MAIL FROM:<${SENDER}> RET=FULL ENVID=Q+2B7\r\n`, '250');
    await smtp.say('RCPT TO:<bob@contoso.com> NOTIFY=FAILURE ORCPT=rfc822;robert@contoso.com\r\n', '250');
    await smtp.say('RCPT TO:<carol@contoso.com> NOTIFY=NEVER\r\n', '250');
    await smtp.say('DATA\r\n', '354');
    const body = `${'x'.repeat(900)}\r\n`.repeat(1_000);
    await smtp.say(`${mail('', body)}.\r\n`, '250');
    const bounced = await process.event('delivery.bounced');
    await delivered(process, bounced['notice']);
    const arrived = sandbox.arrived()[0]?.submitted.toString('latin1') ?? '';
    expect(arrived).toContain('Original-Envelope-Id: Q+7');
    expect(arrived).toContain('Original-Recipient: rfc822;robert@contoso.com');
    expect(arrived).not.toContain('carol@contoso.com');
    expect(arrived).toContain(`Content-Type: message/rfc822\r\n`);
    expect(arrived).toContain(body);
    expect(inbox(SENDER)).toHaveLength(1);
  });

  it('goes to the postmaster where the sender cannot receive', async () => {
    const process = await gateway(`bounces: { postmaster: ${POSTMASTER} }`);
    refuseOnce();
    await smtp.send('root@pbx', ['bob@contoso.com'], mail());
    await delivered(process, (await process.event('delivery.bounced'))['notice']);
    expect(inbox(POSTMASTER)).toHaveLength(1);
  });

  it.each([
    ['a bounce', '', '', '', 'null reverse-path'],
    ['auto-submitted mail', SENDER, 'Auto-Submitted: auto-generated\r\n', '', 'Auto-Submitted'],
    ['a list', SENDER, 'List-Id: <all.contoso.com>\r\n', '', 'List-Id'],
    ['mass mail', SENDER, 'Precedence: bulk\r\n', '', 'Precedence'],
    ['a sender without a domain', 'fax@pbx', '', '', 'cannot receive'],
    ['the gateway as sender', 'root@gateway.test', '', '', 'cannot receive'],
    ['a forbidden sender', SENDER, '', `recipients: { deny: [${SENDER}] }`, 'recipients.deny'],
    ['bounces.send: false', SENDER, '', 'bounces: { send: false }', 'bounces.send'],
  ])('is parked for %s, and nobody is told', async (_, from, header, more, why) => {
    const process = await gateway(more);
    refuseOnce();
    await smtp.send(from, ['bob@contoso.com'], mail(header));
    const parked = await process.event('item.parked');
    expect(parked['why']).toContain(why);
    await pause(300);
    expect(sandbox.arrived()).toHaveLength(0);
    expect(await queueItems(process, 'parked')).toBe(1);
  });

  it('is parked for NOTIFY=NEVER', async () => {
    const process = await gateway();
    refuseOnce();
    await smtp.say(`MAIL FROM:<${SENDER}>\r\n`, '250');
    await smtp.say('RCPT TO:<bob@contoso.com> NOTIFY=NEVER\r\n', '250');
    await smtp.say('DATA\r\n', '354');
    await smtp.say(`${mail()}.\r\n`, '250');
    expect((await process.event('item.parked'))['why']).toContain('NOTIFY');
    expect(sandbox.arrived()).toHaveLength(0);
  });

  it('is kept until its bounce is delivered, and parked whole when that is refused too', async () => {
    const running = await gateway();
    sandbox.fault({ when: { operation: 'CreateItem' }, does: refusal });
    const body = Array.from({ length: 12_000 }, (_, n) => `line ${n} of a body over several chunks`).join('\r\n');
    const sent = mail('Date: Tue, 24 Nov 2026 03:00:00 +0000\r\n', body);
    const reply = await smtp.send(SENDER, ['bob@contoso.com'], sent);
    const bounced = await running.event('delivery.bounced');
    const parked = await running.event('item.parked');
    const id = String(parked['id']);
    const notice = String(bounced['notice']);
    expect(reply).toContain(id);
    expect(bounced['id']).toBe(id);
    expect(parked['why']).toBe(`its sender could not be told: notice ${notice}: refused for good`);
    expect(parked).toMatchObject({ messageId: '<fax.12@pbx.test>', code: '5.1.3' });
    const exported = await queue('export', id, '--to', '-');
    expect(exported.startsWith('Received: ')).toBe(true);
    expect(exported.slice(exported.indexOf('From: '))).toBe(sent);
    expect(JSON.parse(await queue('list', '--json'))).toMatchObject([{ id, state: 'parked' }]);
    expect(JSON.parse(await queue('show', '--json', notice))).toMatchObject({ state: 'dropped' });
    expect(running.lines.filter(({ event }) => event === 'delivery.bounced')).toHaveLength(1);
    expect(sandbox.arrived()).toHaveLength(0);

    // Tried again, it is refused again, and this time its sender hears of it.
    sandbox.clearFaults();
    sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does: refusal });
    await queue('retry', id);
    const again = await running.line(({ event, notice: of }) => event === 'delivery.bounced' && of !== notice);
    await delivered(running, again['notice']);
    expect(inbox(SENDER)).toHaveLength(1);
    await expect(queue('export', id, '--to', '-')).rejects.toThrow('its body is gone');
    const { state, history } = JSON.parse(await queue('show', '--json', id)) as Record<'state' | 'history', unknown>;
    const lines = (history as readonly { readonly what: string }[]).map(({ what }) => what);
    expect(state).toBe('bounced');
    expect(lines).toEqual(['accepted', 'attempted', 'bounced', 'parked', 'retried', 'attempted', 'bounced', 'told']);
  });

  it('can be read while its bounce waits, and ends with it when an operator drops that', async () => {
    const running = await gateway('retry: { intervals: [1h] }');
    refuseOnce();
    sandbox.fault({ when: { operation: 'CreateItem' }, does: trouble });
    await smtp.send(SENDER, ['bob@contoso.com'], mail());
    const { id, notice } = (await running.event('delivery.bounced')) as Record<string, unknown>;
    await running.line(({ event, id: of }) => event === 'delivery.delayed' && of === notice);
    expect(await queue('show', String(id))).toContain('the notice to its sender is under way');
    expect(await queue('export', String(id), '--to', '-')).toContain('the body');
    await queue('drop', String(notice));
    const dropped = running.lines.filter(({ event }) => event === 'item.dropped').map(({ id: of }) => of);
    expect(dropped).toEqual([notice, id]);
    expect(await queue('show', String(id))).toMatch(new RegExp(`with the notice to its sender, ${String(notice)}`));
    await expect(queue('export', String(id), '--to', '-')).rejects.toThrow('its body is gone');
  });
});

describe('a message that is late', () => {
  it('is warned of once after warnAfter, and bounced once after giveUpAfter', async () => {
    const process = await gateway('retry: { intervals: [1s], warnAfter: 2s, giveUpAfter: 8s, verifyAfter: 1s }');
    sandbox.fault({ when: { operation: 'CreateItem' }, does: trouble });
    await smtp.send(SENDER, ['bob@contoso.com'], mail());
    const warned = await process.event('delivery.warned');
    expect(warned).toMatchObject({ to: SENDER, level: 'warn' });
    expect(Number(warned['age'])).toBeGreaterThanOrEqual(2);
    const bounced = await process.event('delivery.bounced');
    expect(bounced['why']).toContain('giveUpAfter');
    sandbox.clearFaults();
    await delivered(process, warned['notice']);
    await delivered(process, bounced['notice']);
    await pause(300);
    const subjects = inbox(SENDER).map(({ subject }) => subject);
    expect(subjects.toSorted()).toEqual(['Delayed: Fax 12', 'Not delivered: Fax 12']);
    expect(inbox('bob@contoso.com')).toHaveLength(0);
    expect(
      sandbox
        .arrived()
        .map(({ submitted }) => submitted.toString())
        .join(''),
    ).toContain('Status: 5.4.7');
    expect(process.lines.filter(({ event }) => event === 'delivery.warned')).toHaveLength(1);
  });

  it('is never warned of with warnAfter: never', async () => {
    const process = await gateway('retry: { intervals: [1s], warnAfter: never, giveUpAfter: 4s }');
    sandbox.fault({ when: { operation: 'CreateItem' }, does: trouble });
    await smtp.send(SENDER, ['bob@contoso.com'], mail());
    await process.event('delivery.bounced');
    expect(process.lines.filter(({ event }) => event === 'delivery.warned')).toHaveLength(0);
  });
});

describe('a kill -9 while senders are being told', () => {
  it('tells each of them exactly once', async () => {
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { ...refusal, slow: { beforeActing: 30 } } });
    const pacing = 'retry: { verifyAfter: 1s }\npacing: { perMailbox: { concurrency: 8, perMinute: unlimited } }';
    const ids: string[] = [];
    const told: string[] = [];
    const tell = (process: GatewayProcess): void => {
      for (const { event, id } of process.lines) if (event === 'delivery.bounced') told.push(String(id));
    };
    for (let round = 0; round < 3; round++) {
      const process = await gateway(pacing);
      for (let n = 0; n < 15; n++) {
        const reply = await smtp.send(SENDER, ['bob@contoso.com'], mail());
        ids.push(reply.split(' ').at(-1) ?? '');
      }
      await process.stop('SIGKILL');
      tell(process);
    }
    const last = await gateway(pacing);
    const deadline = Date.now() + 20_000;
    // Each bounce is refused in its turn, and its message parked: one for each message, and none for a bounce.
    while ((await queueItems(last, 'parked')) < ids.length && Date.now() < deadline) await pause(100);
    tell(last);
    expect(await queueItems(last, 'parked')).toBe(ids.length);
    expect(await queueItems(last, 'dropped')).toBe(ids.length);
    expect(await queueItems(last, 'bounced')).toBe(0);
    expect(new Set(told).size).toBe(told.length);
  });
});
