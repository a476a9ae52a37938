/**
 * What each answer of Exchange and Entra ID leads to, from the sandbox's answer to spool, history, log and metric. The
 * tables below were written by hand from what Microsoft documents; they hold the rows of src/exchange/codes.ts and
 * advice.ts complete, and no expectation is computed from those.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AADSTS } from '../../src/exchange/advice.ts';
import { HTTP_STATUSES, RESPONSE_CODES } from '../../src/exchange/codes.ts';
import type { Misbehaviour } from '../../src/sandbox/fault.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Ended } from './inside.ts';
import { InsideGateway } from './inside.ts';
import type { Folder, LogLine } from './process.ts';
import { folder } from './process.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const SENDER = 'alice@contoso.com';
const READER = 'bob@contoso.com';

/** What becomes of a message, in the words of the operator's documents. */
interface Consequence {
  readonly becomes: 'waits' | 'in doubt' | 'bounced';
  readonly code: string;
  /** What waits with it. */
  readonly reach?: 'message' | 'mailbox' | 'transport';
  /** Milliseconds until the next try, at least and at most. */
  readonly wait?: readonly [least: number, most: number];
  /** Fewer attempts at the same time. */
  readonly throttled?: true;
  /** Parked after eight tries. */
  readonly capped?: true;
}

const exactly = (wait: number): readonly [number, number] => [wait, wait];
/** The first interval of the schedule, a tenth more or less. */
const SCHEDULE = [54 * SECOND, 66 * SECOND] as const;

const busy: Consequence = {
  becomes: 'waits',
  code: '4.3.2',
  reach: 'mailbox',
  wait: exactly(30 * SECOND),
  throttled: true,
};
const ownTrouble: Consequence = { becomes: 'waits', code: '4.3.0', reach: 'message', wait: SCHEDULE };
const odd: Consequence = { ...ownTrouble, capped: true };
const mailboxTrouble = (code: string): Consequence => ({
  becomes: 'waits',
  code,
  reach: 'mailbox',
  wait: exactly(30 * SECOND),
});
const quota = (code: string): Consequence => ({ becomes: 'waits', code, reach: 'mailbox', wait: exactly(30 * MINUTE) });
const mailboxMisconfigured: Consequence = {
  becomes: 'waits',
  code: '4.3.5',
  reach: 'mailbox',
  wait: exactly(5 * MINUTE),
};
const doubt = (code: string): Consequence => ({ becomes: 'in doubt', code, wait: exactly(90 * SECOND) });
const bounced = (code: string): Consequence => ({ becomes: 'bounced', code });
const closed: Consequence = { becomes: 'waits', code: '4.3.5', reach: 'transport', wait: exactly(MINUTE) };
/** Told by the server, because the first probe of an outage would come after a second, in the middle of the test. */
const DOWN = { retryAfter: 30 };
const down = (code: string): Consequence => ({
  becomes: 'waits',
  code,
  reach: 'transport',
  wait: exactly(DOWN.retryAfter * SECOND),
});

const CODES: readonly (readonly [expected: Consequence, ...codes: string[]])[] = [
  [busy, 'ErrorServerBusy'],
  [busy, 'ErrorExceededConnectionCount', 'ErrorExceededSubscriptionCount', 'ErrorExceededFindCountLimit'],
  [
    mailboxTrouble('4.2.1'),
    'ErrorConnectionFailed',
    'ErrorMailboxStoreUnavailable',
    'ErrorMailboxMoveInProgress',
    'ErrorMailboxFailover',
    'ErrorTooManyObjectsOpened',
    'ErrorNoRespondingCASInDestinationSite',
    'ErrorNoApplicableProxyCASServersAvailable',
    'ErrorProxyRequestProcessingFailed',
  ],
  [
    mailboxTrouble('4.3.0'),
    'ErrorInsufficientResources',
    'ErrorNotEnoughMemory',
    'ErrorADUnavailable',
    'ErrorADOperation',
    'ErrorServiceUnavailable',
  ],
  [
    ownTrouble,
    'ErrorInternalServerTransientError',
    'ErrorBatchProcessingStopped',
    'ErrorClientDisconnected',
    'ErrorMessageTrackingTransientError',
  ],
  [odd, 'ErrorInternalServerError'],
  [doubt('4.4.7'), 'ErrorTimeoutExpired'],
  [
    quota('4.7.1'),
    'ErrorSubmissionQuotaExceeded',
    'ErrorExceededMessageLimit',
    'ErrorExceededMessageLimitShowTierUpgrade',
    'ErrorExceededMaxRecipientLimit',
    'ErrorExceededMaxRecipientLimitBlock',
    'ErrorExceededMaxRecipientLimitShowTierUpgrade',
    'ErrorMessageSubmissionBlocked',
    'ErrorAccountSuspend',
    'ErrorAccountSuspendShowTierUpgrade',
  ],
  [quota('4.2.2'), 'ErrorQuotaExceeded'],
  [bounced('5.1.3'), 'ErrorInvalidRecipients', 'ErrorInvalidSmtpAddress'],
  [bounced('5.1.0'), 'ErrorMissingRecipients'],
  [
    bounced('5.3.4'),
    'ErrorMessageSizeExceeded',
    'ErrorDataSizeLimitExceeded',
    'ErrorRequestStreamTooBig',
    'ErrorAttachmentSizeLimitExceeded',
  ],
  [
    bounced('5.6.0'),
    'ErrorAttachmentNestLevelLimitExceeded',
    'ErrorMimeContentInvalid',
    'ErrorMimeContentInvalidBase64String',
    'ErrorMimeContentConversionFailed',
    'ErrorContentConversionFailed',
    'ErrorUnsupportedMimeConversion',
    'ErrorCorruptData',
    'ErrorItemSave',
    'ErrorItemSavePropertyError',
    'ErrorPropertyValidationFailure',
    'ErrorInvalidPropertySet',
  ],
  [bounced('5.7.1'), 'ErrorVirusDetected', 'ErrorVirusMessageDeleted', 'ErrorMessageBlocked', 'ErrorSendAsDenied'],
  [
    mailboxMisconfigured,
    'ErrorNonExistentMailbox',
    'ErrorCannotFindUser',
    'ErrorMissingEmailAddress',
    'ErrorInvalidExchangeImpersonationHeaderData',
    'ErrorNonPrimarySmtpAddress',
    'ErrorMailboxConfiguration',
    'ErrorInvalidLicense',
    'ErrorAccountDisabled',
    'ErrorImpersonateUserDenied',
    'ErrorImpersonationFailed',
    'ErrorAccessDenied',
    'ErrorCreateItemAccessDenied',
    'ErrorSavedItemFolderNotFound',
  ],
  [
    { becomes: 'waits', code: '4.3.5', reach: 'message', wait: SCHEDULE, capped: true },
    'ErrorSchemaValidation',
    'ErrorInvalidRequest',
  ],
  [
    closed,
    'ErrorImpersonationDenied',
    'ErrorInvalidAuthorizationContext',
    'ErrorNoOAuthServerAvailableForRequest',
    'ErrorPasswordExpired',
    'ErrorPasswordChangeRequired',
    'ErrorOrganizationAccessBlocked',
    'ErrorInvalidServerVersion',
    'ErrorIncorrectSchemaVersion',
    'ErrorInvalidSchemaVersionForMailboxVersion',
  ],
];

const STATUSES: readonly (readonly [expected: Consequence, ...statuses: number[]])[] = [
  [closed, 301, 302, 303, 307, 308],
  [bounced('5.5.0'), 400],
  [closed, 401, 403, 404, 405, 407],
  [bounced('5.3.4'), 413],
  [busy, 429],
  [ownTrouble, 440, 449],
  [closed, 456],
  [odd, 500],
  [down('4.4.1'), 502, 503],
  [doubt('4.4.7'), 504],
  [quota('4.2.2'), 507],
];

/** Answers that no row of the two tables names. */
const OTHERS: readonly (readonly [what: string, answer: Misbehaviour, cause: string, expected: Consequence])[] = [
  ['a code of tomorrow', { responseCode: 'ErrorInventedTomorrow' }, 'ErrorInventedTomorrow', odd],
  ['a code of tomorrow as a fault', { responseCode: 'ErrorInventedLater', as: 'fault' }, 'ErrorInventedLater', odd],
  ['a status that nobody knows', { status: 418 }, 'HTTP 418', odd],
  ['a success that is none', { status: 202 }, 'HTTP 202', doubt('4.4.2')],
  ['a 200 that is no answer', { garbage: true }, 'unusable answer', doubt('4.4.2')],
  ['a login page', { body: '<html>sign in</html>' }, 'unusable answer', doubt('4.4.2')],
  ['an answer cut off', { cut: 'inAnswer' }, 'unusable answer', doubt('4.4.2')],
  ['no answer', { cut: 'afterActing' }, 'UND_ERR_SOCKET', doubt('4.4.2')],
  [
    'the general error page',
    { status: 500, body: "<html>Server Error in '/EWS' Application.</html>" },
    'HTTP 500',
    mailboxTrouble('4.3.0'),
  ],
  [
    'a redirect to the general error page',
    { status: 302, headers: { location: 'https://exchange.test/ews/genericerrorpage.htm?code=1' } },
    'HTTP 302',
    mailboxTrouble('4.3.0'),
  ],
  [
    'a code in X-CasErrorCode',
    { status: 500, headers: { 'x-caserrorcode': 'ErrorMailboxMoveInProgress' } },
    'ErrorMailboxMoveInProgress',
    mailboxTrouble('4.2.1'),
  ],
];

interface Row {
  readonly name: string;
  readonly cause: string;
  readonly answer: Misbehaviour;
  readonly expected: Consequence;
}

/** Every other code comes as a fault: both forms mean the same. */
const codeRows = CODES.flatMap(([expected, ...codes]) => codes.map((code) => ({ code, expected }))).map(
  ({ code, expected }, index): Row => ({
    name: code,
    cause: code,
    answer: { responseCode: code, as: index % 2 === 0 ? 'message' : 'fault' },
    expected,
  }),
);
const statusRows = STATUSES.flatMap(([expected, ...statuses]) =>
  statuses.map((status): Row => {
    const isDown = expected.reach === 'transport' && expected.code !== '4.3.5';
    const answer = { status, ...(isDown ? DOWN : {}) };
    return { name: `HTTP ${status}`, cause: `HTTP ${status}`, answer, expected };
  }),
);
const otherRows = OTHERS.map(([name, answer, cause, expected]): Row => ({ name, answer, cause, expected }));
const rows = [...codeRows, ...statusRows, ...otherRows];

/** Half a second for the way from the answer to what is written down. */
const SLACK = 500;

let place: Folder;
let sandbox: Sandbox;
const small = rows.filter(({ expected }) => expected.reach !== 'transport');
const mailboxOf = (row: Row): string => `m${rows.indexOf(row)}@contoso.com`;

beforeAll(async () => {
  place = folder();
  sandbox = await startSandbox({
    mailboxes: ['notifications@contoso.com', SENDER, READER, ...rows.map(mailboxOf)].map((address) => ({ address })),
  });
});

afterAll(async () => {
  await sandbox.close();
  place.remove();
});

const EVENTS = { waits: 'delivery.delayed', 'in doubt': 'delivery.unknown', bounced: 'delivery.failed' } as const;
const OUTCOMES = { waits: 'delayed', 'in doubt': 'unknown', bounced: 'failed' } as const;

function expectLine(line: LogLine, { cause, expected }: Row): void {
  const { becomes, code, reach, throttled, capped } = expected;
  expect(line).toMatchObject({ level: becomes === 'bounced' ? 'error' : 'warn', attempt: 1, code, cause });
  expect(line['reach']).toBe(reach);
  expect(line['throttled']).toBe(throttled);
  expect(line['capped']).toBe(capped);
  expect(String(line['reason']).length).toBeGreaterThan(20);
  expect(line['clientRequestId']).toMatch(/^[\da-f-]{36}$/);
}

function expectSpool({ item, history }: Ended, { cause, expected }: Row): void {
  const { becomes, code, reach } = expected;
  expect(item).toMatchObject({
    state: becomes === 'bounced' ? 'bounced' : 'queued',
    attempts: 1,
    doubtful: becomes === 'in doubt',
  });
  const told = history.find(({ status }) => status?.cause === cause)?.status;
  expect(told).toMatchObject({ outcome: OUTCOMES[becomes], code, cause });
  expect(told?.outcome === 'delayed' ? told.reach : undefined).toBe(reach);
}

function expectWait(milliseconds: number, [least, most]: readonly [number, number]): void {
  expect(milliseconds).toBeGreaterThanOrEqual(least - 50);
  expect(milliseconds).toBeLessThanOrEqual(most + SLACK);
}

const since = (line: LogLine, at: unknown): number => Date.parse(String(at)) - Date.parse(String(line['time']));

function expectWaits(line: LogLine, { item }: Ended, { expected: { wait, reach } }: Row): void {
  if (wait === undefined) return;
  expectWait(since(line, line['due']), wait);
  // What waits with its mailbox keeps its place there.
  const due = item.due - Date.parse(String(line['time']));
  expectWait(due, reach === 'mailbox' ? [-Infinity, -SLACK] : wait);
}

function expectHeldMailbox({ lines }: InsideGateway, row: Row): void {
  const { reach, throttled, wait = [0, 0] } = row.expected;
  const held = lines.filter(({ event, mailbox }) => event === 'lane.held' && mailbox === mailboxOf(row));
  expect(held).toHaveLength(reach === 'mailbox' ? 1 : 0);
  for (const line of held) {
    expect(line).toMatchObject({ cause: row.cause, throttled: throttled === true });
    expectWait(since(line, line['until']), wait);
  }
}

/** A fault of our own configuration calls a person at once. */
function expectAlarm({ lines }: InsideGateway, about: string, { cause, expected: { code, reach } }: Row): void {
  const raised = lines.filter(({ event, alarm }) => event === 'alarm.raised' && String(alarm).endsWith(`:${about}`));
  const isClosed = cause === 'HTTP 403' || cause === 'ErrorOrganizationAccessBlocked';
  const reasons = {
    message: [],
    mailbox: ['mailboxMisconfigured'],
    transport: [isClosed ? 'ewsClosed' : 'misconfigured'],
  };
  expect(raised.map(({ reason }) => reason)).toEqual(code === '4.3.5' ? reasons[reach ?? 'message'] : []);
}

function expectBounce({ lines }: InsideGateway, id: string, { cause, expected: { becomes, code } }: Row): void {
  const told = lines.filter((line) => line.event === 'delivery.bounced' && line['id'] === id);
  expect(told).toHaveLength(becomes === 'bounced' ? 1 : 0);
  for (const line of told) expect(line).toMatchObject({ to: SENDER, recipients: [READER], code, cause });
}

const attempts = ({ cause, expected }: Row): string =>
  `delivery_attempts_total{route="exchange",outcome="${OUTCOMES[expected.becomes]}",cause="${cause}"}`;

describe('an answer that concerns a message or a mailbox', () => {
  let gateway: InsideGateway;
  let ids: Map<Row, string>;
  let ended: ReadonlyMap<string, Ended>;
  let metrics: ReadonlyMap<string, number>;

  // All of them through one gateway, each by a mailbox of its own: none may stand in the way of another.
  beforeAll(async () => {
    gateway = await InsideGateway.start(place, sandbox, { mailboxes: small.map(mailboxOf) });
    ids = new Map();
    for (const row of small) {
      // What cannot be stored is tried once more without optional properties, in the same attempt.
      const count = /^Error(?:Item|Property|InvalidPropertySet)/.test(row.cause) ? 2 : 1;
      sandbox.fault({ when: { operation: 'CreateItem', mailbox: mailboxOf(row), count }, does: row.answer });
      ids.set(row, await gateway.send(mailboxOf(row), READER, SENDER));
    }
    for (const [row, id] of ids) {
      await gateway.line(EVENTS[row.expected.becomes], { id });
      if (row.expected.becomes === 'bounced') await gateway.line('delivery.bounced', { id });
    }
    metrics = await gateway.metrics();
    await gateway.stop();
    ended = await gateway.ended([...ids.values()]);
  });

  it.each(small)('$name', async (row) => {
    const id = ids.get(row) ?? '';
    const found = ended.get(id);
    if (found === undefined) throw new Error('not in the spool');
    const line = await gateway.line(EVENTS[row.expected.becomes], { id });
    expectLine(line, row);
    expectSpool(found, row);
    expectWaits(line, found, row);
    expectHeldMailbox(gateway, row);
    expectAlarm(gateway, `exchange/${mailboxOf(row)}`, row);
    expectBounce(gateway, id, row);
    const same = small.filter((other) => attempts(other) === attempts(row)).length;
    expect(metrics.get(attempts(row))).toBe(same);
  });

  it('never holds the route, and counts what it held', () => {
    expect(gateway.lines.filter(({ event }) => event === 'route.held' || event === 'bug')).toEqual([]);
    const count = (is: (expected: Consequence) => boolean): number =>
      small.filter(({ expected }) => is(expected)).length;
    expect(metrics.get('route_held{route="exchange"}')).toBe(0);
    expect(metrics.get('holds_total{route="exchange",reach="mailbox",why="throttled"}')).toBe(
      count(({ throttled }) => throttled === true),
    );
    expect(metrics.get('holds_total{route="exchange",reach="mailbox",why="trouble"}')).toBe(
      count(({ reach, throttled }) => reach === 'mailbox' && throttled !== true),
    );
    for (const reach of ['message', 'mailbox'] as const)
      expect(metrics.get(`misconfigured_attempts_total{route="exchange",reach="${reach}"}`)).toBe(
        count((expected) => expected.code === '4.3.5' && expected.reach === reach),
      );
    expect(metrics.get('unknown_outcomes_total{route="exchange"}')).toBe(
      count(({ becomes }) => becomes === 'in doubt'),
    );
    expect(metrics.get('items_bounced_total{route="exchange"}')).toBe(count(({ becomes }) => becomes === 'bounced'));
    expect(metrics.get('items_parked_total{route="exchange"}')).toBe(0);
  });
});

/** Two mails, the second while the route is held: both are kept, and the second is not even tried. */
async function throughHeldRoute(cause: string): Promise<{
  readonly gateway: InsideGateway;
  readonly held: LogLine;
  readonly line: LogLine;
  readonly metrics: ReadonlyMap<string, number>;
  readonly ended: readonly Ended[];
}> {
  const other = 'm0@contoso.com';
  const gateway = await InsideGateway.start(place, sandbox, { mailboxes: [other] });
  const first = await gateway.send('notifications@contoso.com', READER);
  const held = await gateway.line('route.held', { cause });
  const line = await gateway.line('delivery.delayed', { id: first });
  const metrics = await gateway.metrics();
  const second = await gateway.send(other, READER);
  await gateway.stop();
  const ended = await gateway.ended([first, second]);
  return { gateway, held, line, metrics, ended: [...ended.values()] };
}

function expectHeld(
  { held, metrics, ended, line }: Awaited<ReturnType<typeof throughHeldRoute>>,
  { code, wait = [0, 0] }: Consequence,
): void {
  const misconfigured = code === '4.3.5';
  expect(held).toMatchObject({ level: 'error', misconfigured });
  expect(String(held['reason']).length).toBeGreaterThan(20);
  expectWait(since(held, held['until']), wait);
  expect(metrics.get('route_held{route="exchange"}')).toBe(1);
  expect(metrics.get('route_misconfigured{route="exchange"}')).toBe(misconfigured ? 1 : 0);
  expect(metrics.get('misconfigured_attempts_total{route="exchange",reach="transport"}')).toBe(misconfigured ? 1 : 0);
  const why = misconfigured ? 'misconfigured' : 'trouble';
  expect(metrics.get(`holds_total{route="exchange",reach="transport",why="${why}"}`)).toBe(1);
  // It keeps its place, and the next one waits behind it untouched.
  const [first, second] = ended;
  expect(first?.item).toMatchObject({ state: 'queued', attempts: 1, doubtful: false });
  expect(first?.item.due).toBeLessThanOrEqual(Date.parse(String(line['time'])));
  expect(second?.item).toMatchObject({ state: 'queued', attempts: 0, doubtful: false });
  expect(second?.history.map(({ what }) => what)).toEqual(['accepted']);
}

describe('an answer that concerns everything', () => {
  it.each(rows.filter((row) => !small.includes(row)))('$name', async (row) => {
    sandbox.fault({ when: { operation: 'CreateItem' }, does: row.answer });
    const seen = await throughHeldRoute(row.cause);
    sandbox.clearFaults();
    expectHeld(seen, row.expected);
    expectAlarm(seen.gateway, 'exchange', row);
    expect(seen.metrics.get(attempts(row))).toBe(1);
    if (seen.ended[0] !== undefined) expectSpool(seen.ended[0], row);
    const { throttled, capped, reach, code } = seen.line;
    expect({ throttled, capped, reach, code, cause: seen.line['cause'] }).toEqual({
      reach: 'transport',
      code: row.expected.code,
      cause: row.cause,
    });
  });
});

/** What Entra ID sends with a code, whether a person has to act, and the words that must stand in the log. */
const ENTRA: readonly (readonly [says: RegExp, error: string, status: number, ...codes: number[]])[] = [
  [/Value.*not its Secret ID/, 'invalid_client', 401, 7000215],
  [/expired.*new one.*certificate/, 'invalid_client', 401, 7000222],
  [/empty.*environment variable/, 'invalid_client', 401, 7000218, 900144],
  [/client id and tenant id/, 'unauthorized_client', 400, 700016, 700011],
  [/tenant id.*typo.*`cloud`/, 'invalid_request', 400, 90002],
  [/national cloud.*`cloud`/, 'invalid_request', 400, 90038, 900382, 900432],
  [/disabled.*Enterprise applications/, 'unauthorized_client', 400, 7000112, 70001, 1000031],
  [/scope is wrong.*no Exchange Online/, 'invalid_resource', 400, 500011, 50001, 650052, 650057],
  [/admin consent/, 'invalid_grant', 400, 65001, 650056, 90094],
  [/\/\.default/, 'invalid_scope', 400, 70011, 1002012, 28002],
  [/not uploaded.*clock/, 'invalid_client', 401, 700027, 50012, 700030, 700024],
  [/issuer, subject and audience/, 'invalid_client', 401, 700229, 700211, 700212, 700213],
  [/outgoing IP address/, 'access_denied', 400, 53003, 530032],
  [/asked again/, 'temporarily_unavailable', 503, 50033, 90006, 90012, 90024, 90033, 90055, 90090, 40010],
];

describe('a token that Entra ID refuses', () => {
  // One code of each row the whole way; test/exchange/token-advice.test.ts holds the words of every code.
  it.each(ENTRA.map(([says, error, status, ...codes]) => ({ code: codes[0] ?? 0, says, error, status })))(
    'AADSTS$code',
    async ({ code, says, error, status }) => {
      const cause = `AADSTS${code}`;
      sandbox.identity.faults.push({ aadsts: code, error, status, times: 1_000, ...(status < 500 ? {} : DOWN) });
      const seen = await throughHeldRoute(cause);
      sandbox.identity.faults.clear();
      expectHeld(seen, status < 500 ? closed : down('4.4.3'));
      expect(seen.line).toMatchObject({ code: status < 500 ? '4.3.5' : '4.4.3', cause, reach: 'transport' });
      const failed = await seen.gateway.line('token.failed');
      expect(failed).toMatchObject({ level: 'error', cause, account: 'exchange' });
      expect(failed['advice']).toMatch(says);
      expect(seen.held['reason']).toMatch(says);
      expect(seen.metrics.get(`token_failures_total{account="exchange",cause="${cause}"}`)).toBe(1);
      expect(seen.metrics.get('token_requests_total{account="exchange",result="failed"}')).toBe(1);
    },
  );
});

describe('the tables of this test', () => {
  const sorted = <T>(values: readonly T[]): T[] => values.toSorted((a, b) => String(a).localeCompare(String(b)));
  const flat = <T>(table: readonly (readonly [unknown, ...T[]])[]): T[] => table.flatMap(([, ...keys]) => keys);

  it('hold every row of the code, and no other, each once', () => {
    expect(sorted(flat<string>(CODES))).toEqual(sorted(RESPONSE_CODES.flatMap(([codes]) => codes)));
    expect(sorted(flat<number>(STATUSES))).toEqual(sorted(HTTP_STATUSES.flatMap(([statuses]) => statuses)));
    expect(ENTRA.map(([, , , ...codes]) => sorted(codes))).toEqual(AADSTS.map(({ codes }) => sorted(codes)));
  });
});
