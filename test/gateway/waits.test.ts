/**
 * Waits that Exchange and Entra ID tell, in real time: obeyed to the second, and by nothing else than what they concern.
 * And the faults of our own configuration that appear while the gateway runs: mail is kept, and goes out by itself.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Misbehaviour } from '../../src/sandbox/fault.ts';
import type { IdentityFault } from '../../src/sandbox/identity.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { InsideGateway } from './inside.ts';
import type { Folder, LogLine } from './process.ts';
import { folder } from './process.ts';

const MAILBOX = 'notifications@contoso.com';
const OTHER = 'other@contoso.com';
const READER = 'bob@contoso.com';
const TOLD = 2_000;

interface Site {
  readonly sandbox: Sandbox;
  readonly gateway: InsideGateway;
}

let place: Folder;
const open: Site[] = [];

beforeAll(() => {
  place = folder();
});

afterAll(async () => {
  for (const { gateway, sandbox } of open) {
    await gateway.stop();
    await sandbox.close();
  }
  place.remove();
});

async function site(): Promise<Site> {
  const sandbox = await startSandbox({ mailboxes: [MAILBOX, OTHER, READER].map((address) => ({ address })) });
  const gateway = await InsideGateway.start(place, sandbox, { mailboxes: [OTHER] });
  const opened = { sandbox, gateway };
  open.push(opened);
  return opened;
}

const at = (line: LogLine): number => Date.parse(String(line['time']));

/** From the answer that told to wait to the delivery of what it concerned. */
function expectObeyed(told: LogLine, relayed: LogLine, wait = TOLD): void {
  expect(at(relayed) - at(told)).toBeGreaterThanOrEqual(wait - 200);
  expect(at(relayed) - at(told)).toBeLessThan(wait + 1_000);
}

const busy = { responseCode: 'ErrorServerBusy', backOffMilliseconds: TOLD };
const inTwoSeconds = (): string => new Date(Math.ceil(Date.now() / 1_000) * 1_000 + TOLD).toUTCString();

describe('a wait told for', () => {
  it.concurrent.each<readonly [string, () => Misbehaviour]>([
    ['BackOffMilliseconds as a fault', () => ({ ...busy, as: 'fault' })],
    ['BackOffMilliseconds inside a 200', () => busy],
    ['429 with Retry-After in seconds', () => ({ status: 429, retryAfter: TOLD / 1_000 })],
    ['429 with Retry-After as a date', () => ({ status: 429, retryAfter: inTwoSeconds() })],
  ])('a mailbox, %s', async (_, answer) => {
    const { sandbox, gateway } = await site();
    sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does: answer() });
    const first = await gateway.send(MAILBOX, READER);
    const told = await gateway.line('delivery.delayed', { id: first });
    const second = await gateway.send(MAILBOX, READER);
    const other = await gateway.send(OTHER, READER);
    const passed = await gateway.line('delivery.relayed', { id: other });
    expect(at(passed) - at(told)).toBeLessThan(TOLD - 500);
    const wait = Number(told['retryAfter']) * 1_000;
    expect(wait).toBeGreaterThanOrEqual(TOLD);
    expect(wait).toBeLessThanOrEqual(TOLD + 1_000);
    for (const id of [first, second]) expectObeyed(told, await gateway.line('delivery.relayed', { id }), wait);
    expect(gateway.lines.filter(({ event }) => event === 'route.held')).toEqual([]);
  });

  it.concurrent('a message alone', async () => {
    const { sandbox, gateway } = await site();
    const does = { status: 500, retryAfter: TOLD / 1_000 };
    sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does });
    const first = await gateway.send(MAILBOX, READER);
    const told = await gateway.line('delivery.delayed', { id: first });
    const passed = await gateway.line('delivery.relayed', { id: await gateway.send(MAILBOX, READER) });
    expect(at(passed) - at(told)).toBeLessThan(TOLD - 500);
    expectObeyed(told, await gateway.line('delivery.relayed', { id: first }));
    expect(gateway.lines.filter(({ event }) => event === 'route.held' || event === 'lane.held')).toEqual([]);
  });
});

const soon = { retryAfter: TOLD / 1_000 };

/** Nobody goes out before the time, then all do. */
async function expectHeldAndReleased({ gateway }: Site, cause: string, misconfigured: boolean): Promise<LogLine> {
  const first = await gateway.send(MAILBOX, READER);
  const held = await gateway.line('route.held', { cause });
  expect(held['misconfigured']).toBe(misconfigured);
  const ids = [first, await gateway.send(MAILBOX, READER), await gateway.send(OTHER, READER)];
  for (const id of ids) expectObeyed(held, await gateway.line('delivery.relayed', { id }));
  await gateway.line('route.released');
  expect((await gateway.metrics()).get('route_held{route="exchange"}')).toBe(0);
  expect(gateway.lines.filter(({ event }) => /bounced|parked|failed/.test(event))).toEqual(
    gateway.lines.filter(({ event }) => event === 'token.failed'),
  );
  return held;
}

describe('the route is held and works again by itself after', () => {
  it.concurrent.each<readonly [string, Misbehaviour, string, boolean]>([
    ['Exchange is down', { status: 503, ...soon }, 'HTTP 503', false],
    ['EWS is closed', { status: 403, ...soon }, 'HTTP 403', true],
    [
      'impersonation is not granted',
      { responseCode: 'ErrorImpersonationDenied', ...soon },
      'ErrorImpersonationDenied',
      true,
    ],
  ])('%s', async (_, does, cause, misconfigured) => {
    const opened = await site();
    opened.sandbox.fault({ when: { operation: 'CreateItem', count: 1 }, does });
    await expectHeldAndReleased(opened, cause, misconfigured);
  });

  it.concurrent.each<readonly [string, IdentityFault, string, boolean]>([
    ['Entra ID is down', { status: 503, ...soon }, 'HTTP 503', false],
    ['the secret has expired', { aadsts: 7000222, ...soon }, 'AADSTS7000222', true],
    ['consent is missing', { aadsts: 65001, ...soon }, 'AADSTS65001', true],
  ])('%s', async (_, fault, cause, misconfigured) => {
    const opened = await site();
    opened.sandbox.identity.faults.push(fault);
    await expectHeldAndReleased(opened, cause, misconfigured);
  });
});

describe('EWS closed to this application (403)', () => {
  it('keeps the mail and names the causes, the likeliest first, with commands that can be run as they stand', async () => {
    const { sandbox, gateway } = await site();
    const does = { status: 403, headers: { 'x-ms-diagnostics': '2000008;reason="the server says so"' } };
    sandbox.fault({ when: { operation: 'CreateItem' }, does });
    const id = await gateway.send(MAILBOX, READER);
    const { reason } = await gateway.line('route.held', { cause: 'HTTP 403' });
    const causes = [
      'Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy | fl EwsEnabled,EwsAllowedAppIDs',
      `Set-OrganizationConfig -EwsEnabled $true -EwsAllowedAppIDs "<existing list>,${sandbox.clientId}"`,
      `Get-CASMailbox ${MAILBOX} | fl EwsEnabled`,
      `Set-CASMailbox ${MAILBOX} -EwsEnabled $true`,
      'full_access_as_app',
      `Test-ServicePrincipalAuthorization -Identity ${sandbox.clientId} -Resource ${MAILBOX}`,
      'Kiosk, F1 or F3',
      'fl EwsApplicationAccessPolicy,EwsAllowList,EwsBlockList',
      'Conditional access',
      'April 2027',
      'x-ms-diagnostics: 2000008',
    ].map((word) => String(reason).indexOf(word));
    expect(causes).not.toContain(-1);
    expect(causes).toEqual(causes.toSorted((one, other) => one - other));
    await gateway.line('delivery.delayed', { id });
    const metrics = await gateway.metrics();
    expect(metrics.get('queue_items{state="queued"}')).toBe(1);
    expect(metrics.get('items_bounced_total{route="exchange"}')).toBe(0);
  });
});
