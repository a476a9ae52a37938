/**
 * Each row of the code tables from outside: what Exchange answers to a message that came in by SMTP, and what becomes of
 * it in the spool, the log, the metrics and the alarms. What is expected is written down here by Microsoft's documents;
 * a row of the tables that is missing here makes the test fail.
 */
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlClient } from '../../src/commands/control-client.ts';
import { loadConfig } from '../../src/config/load.ts';
import { controlPath } from '../../src/console/control.ts';
import { HTTP_STATUSES, RESPONSE_CODES } from '../../src/exchange/codes.ts';
import type { Gateway } from '../../src/gateway.ts';
import { startGateway } from '../../src/gateway.ts';
import type { Misbehaviour } from '../../src/sandbox/fault.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { configText } from './config-text.ts';
import type { Folder, LogLine } from './process.ts';
import { folder } from './process.ts';
import { RawSmtp } from './raw-smtp.ts';

/** Milliseconds; none of them passes during the test. */
const RETRY = 600_000;
const VERIFY = 300_000;
const MINUTE = 60_000;

type Consequence =
  /** Returned to its sender, nobody else waits. */
  | { readonly is: 'failed'; readonly code: string }
  /** This message alone waits, by the schedule. */
  | { readonly is: 'message'; readonly code: string }
  /** Its mailbox waits, so many milliseconds, and the message keeps its place. */
  | { readonly is: 'mailbox'; readonly code: string; readonly wait: number; readonly alarm?: string }
  /** Nothing goes out but probes, the first after so many milliseconds. */
  | { readonly is: 'route'; readonly code: string; readonly wait: number; readonly alarm?: string }
  /** Looked for before it is sent again. */
  | { readonly is: 'unknown'; readonly code: string };

interface Row {
  readonly answers: readonly (string | number)[];
  readonly then: Consequence;
  /** Beside the code, or instead of it. */
  readonly does?: Misbehaviour;
}

const THROTTLED: Consequence = { is: 'mailbox', code: '4.3.2', wait: 30_000 };
const OF_MAILBOX: Consequence = { is: 'mailbox', code: '4.3.5', wait: 5 * MINUTE, alarm: 'mailboxMisconfigured' };
const OF_ROUTE: Consequence = { is: 'route', code: '4.3.5', wait: MINUTE, alarm: 'misconfigured' };
const EWS_CLOSED: Consequence = { ...OF_ROUTE, alarm: 'ewsClosed' };
const quota = (code: string): Consequence => ({ is: 'mailbox', code, wait: 30 * MINUTE });

const ROWS: readonly Row[] = [
  // Temporary.
  { answers: ['ErrorServerBusy'], then: { ...THROTTLED, wait: 700_000 }, does: { backOffMilliseconds: 700_000 } },
  {
    answers: ['ErrorExceededConnectionCount', 'ErrorExceededSubscriptionCount', 'ErrorExceededFindCountLimit'],
    then: THROTTLED,
  },
  {
    answers: [
      'ErrorConnectionFailed',
      'ErrorMailboxStoreUnavailable',
      'ErrorMailboxMoveInProgress',
      'ErrorMailboxFailover',
      'ErrorTooManyObjectsOpened',
      'ErrorNoRespondingCASInDestinationSite',
      'ErrorNoApplicableProxyCASServersAvailable',
      'ErrorProxyRequestProcessingFailed',
    ],
    then: { is: 'mailbox', code: '4.2.1', wait: 30_000 },
  },
  {
    answers: [
      'ErrorInsufficientResources',
      'ErrorNotEnoughMemory',
      'ErrorADUnavailable',
      'ErrorADOperation',
      'ErrorServiceUnavailable',
    ],
    then: { is: 'mailbox', code: '4.3.0', wait: 30_000 },
  },
  {
    answers: [
      'ErrorInternalServerTransientError',
      'ErrorBatchProcessingStopped',
      'ErrorClientDisconnected',
      'ErrorMessageTrackingTransientError',
      'ErrorInternalServerError',
      // None that Exchange has.
      'ErrorOfTomorrow',
      440,
      449,
      500,
      418,
    ],
    then: { is: 'message', code: '4.3.0' },
  },
  { answers: ['ErrorTimeoutExpired', 504], then: { is: 'unknown', code: '4.4.7' } },
  {
    answers: [
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
    then: quota('4.7.1'),
  },
  { answers: ['ErrorQuotaExceeded', 507], then: quota('4.2.2') },
  { answers: [502, 503], then: { is: 'route', code: '4.4.1', wait: 1_000 } },
  { answers: [429], then: { ...THROTTLED, wait: 900_000 }, does: { retryAfter: 900 } },
  // For good.
  { answers: ['ErrorInvalidRecipients', 'ErrorInvalidSmtpAddress'], then: { is: 'failed', code: '5.1.3' } },
  { answers: ['ErrorMissingRecipients'], then: { is: 'failed', code: '5.1.0' } },
  {
    answers: [
      'ErrorMessageSizeExceeded',
      'ErrorDataSizeLimitExceeded',
      'ErrorRequestStreamTooBig',
      'ErrorAttachmentSizeLimitExceeded',
      413,
    ],
    then: { is: 'failed', code: '5.3.4' },
  },
  {
    answers: [
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
    then: { is: 'failed', code: '5.6.0' },
  },
  {
    answers: ['ErrorVirusDetected', 'ErrorVirusMessageDeleted', 'ErrorMessageBlocked', 'ErrorSendAsDenied'],
    then: { is: 'failed', code: '5.7.1' },
  },
  { answers: [400], then: { is: 'failed', code: '5.5.0' } },
  // Our configuration, as far as one mailbox.
  {
    answers: [
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
    then: OF_MAILBOX,
  },
  // Our configuration, everything.
  {
    answers: [
      'ErrorImpersonationDenied',
      'ErrorInvalidAuthorizationContext',
      'ErrorNoOAuthServerAvailableForRequest',
      'ErrorPasswordExpired',
      'ErrorPasswordChangeRequired',
      'ErrorInvalidServerVersion',
      'ErrorIncorrectSchemaVersion',
      'ErrorInvalidSchemaVersionForMailboxVersion',
      301,
      302,
      303,
      307,
      308,
      401,
      404,
      405,
      407,
      456,
    ],
    then: OF_ROUTE,
  },
  { answers: ['ErrorOrganizationAccessBlocked', 403], then: EWS_CLOSED },
  // A bug of ours with this one message.
  { answers: ['ErrorSchemaValidation', 'ErrorInvalidRequest'], then: { is: 'message', code: '4.3.5' } },
];

interface Case {
  readonly name: string;
  readonly cause: string;
  readonly mailbox: string;
  readonly does: Misbehaviour;
  readonly then: Consequence;
}

function casesOf({ answers, then, does = {} }: Row): Omit<Case, 'mailbox'>[] {
  return answers.map((answer) => {
    if (typeof answer === 'string')
      return { name: answer, cause: answer, then, does: { ...does, responseCode: answer } };
    // A request refused for its token is sent once more, with a fresh one.
    const elsewhere = answer < 400 ? { headers: { location: 'https://login.example/' } } : {};
    return { name: `HTTP ${answer}`, cause: `HTTP ${answer}`, then, does: { ...does, ...elsewhere, status: answer } };
  });
}

/** Told in a second way. */
const inAnotherWay: readonly Omit<Case, 'mailbox'>[] = [
  {
    name: 'ErrorServerBusy as a fault',
    cause: 'ErrorServerBusy',
    then: { ...THROTTLED, wait: 1_100_000 },
    does: { responseCode: 'ErrorServerBusy', as: 'fault', backOffMilliseconds: 1_100_000 },
  },
  {
    name: 'HTTP 503 with a Retry-After',
    cause: 'HTTP 503',
    then: { is: 'route', code: '4.4.1', wait: 1_300_000 },
    does: { status: 503, retryAfter: 1_300 },
  },
  {
    name: 'ErrorImpersonateUserDenied as a fault',
    cause: 'ErrorImpersonateUserDenied',
    then: OF_MAILBOX,
    does: { responseCode: 'ErrorImpersonateUserDenied', as: 'fault' },
  },
];

const CASES: readonly Case[] = [...ROWS.flatMap(casesOf), ...inAnotherWay].map((one, index) => ({
  ...one,
  mailbox: `m${index}@contoso.com`,
}));
/** They hold the route, so that each needs a gateway of its own. */
const isOfRoute = ({ then }: Case): boolean => then.is === 'route';

let place: Folder;
let sandbox: Sandbox;
let caFile: string;

/** The request is sent once more without the properties that may be the trouble. */
const isOfProperties = ({ responseCode = '' }: Misbehaviour): boolean =>
  /^Error(?:ItemSave|PropertyValidation|InvalidPropertySet)/.test(responseCode);

class Watched {
  readonly gateway: Gateway;
  readonly lines: LogLine[];
  readonly begunAt = Date.now();
  readonly #spool: string;

  private constructor(gateway: Gateway, lines: LogLine[], spool: string) {
    this.gateway = gateway;
    this.lines = lines;
    this.#spool = spool;
  }

  static async start(name: string, cases: readonly Case[]): Promise<Watched> {
    const spool = `${place.path}/${name}/spool.db`;
    const config = place.write(
      `${name}.yaml`,
      configText({
        sandbox,
        caFile,
        more: `
retry: { intervals: [${RETRY}ms], verifyAfter: ${VERIFY}ms }
pacing: { concurrency: 200 }
spool: { sqlite: ${spool} }
`,
      }).replace(
        'senders: {',
        `senders: { rules: [${cases.map(({ mailbox }) => `{ from: ${mailbox}, mailbox: ${mailbox} }`).join(', ')}],`,
      ),
    );
    const loaded = await loadConfig(config, { SECRET: sandbox.clientSecret });
    if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults));
    const lines: LogLine[] = [];
    const logTo = new PassThrough();
    let rest = '';
    logTo.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts.map((line) => JSON.parse(line) as LogLine));
    });
    const gateway = await startGateway(loaded.config, { version: 'test', configFile: config, logTo });
    return new Watched(gateway, lines, spool);
  }

  /** @returns the id of the message */
  async send({ mailbox, does }: Case): Promise<string> {
    sandbox.fault({
      when: { operation: 'CreateItem', mailbox, count: does.status === 401 || isOfProperties(does) ? 2 : 1 },
      does,
    });
    const smtp = await RawSmtp.open(this.gateway.listeners[0]?.port ?? 0);
    const reply = await smtp.send(
      mailbox,
      ['alice@contoso.com'],
      `From: ${mailbox}\r\nTo: alice@contoso.com\r\nSubject: x\r\n\r\nHello\r\n`,
    );
    smtp.end();
    return /queued as (\S+)/.exec(reply)?.[1] ?? '';
  }

  async line(event: string, facts: Readonly<Record<string, unknown>>): Promise<LogLine> {
    for (let tries = 0; tries < 500; tries++) {
      const found = this.lines.find(
        (line) => line.event === event && Object.entries(facts).every(([name, value]) => line[name] === value),
      );
      if (found !== undefined) return found;
      await new Promise((wake) => setTimeout(wake, 20));
    }
    const about = this.lines.filter((line) => line['id'] === facts['id'] || line['mailbox'] === facts['mailbox']);
    throw new Error(`no ${event} with ${JSON.stringify(facts)}, but ${JSON.stringify(about.slice(0, 5))}`);
  }

  async story(id: string) {
    const story = await controlClient(controlPath(this.#spool)).show(id);
    if (story === undefined) throw new Error(`no item ${id}`);
    return story;
  }

  async metric(name: string, labels: string): Promise<number> {
    const text = await (await fetch(`${this.gateway.consoleUrl}/metrics`)).text();
    const line = text.split('\n').find((one) => one.startsWith(`smtp2exchange_${name}{${labels}} `));
    return Number(line?.slice(line.lastIndexOf(' ')) ?? 0);
  }
}

const at = (line: LogLine, field: string): number => Date.parse(String(line[field]));

async function check(watched: Watched, one: Case, id: string): Promise<void> {
  const { cause, then, mailbox } = one;
  const event = { failed: 'failed', message: 'delayed', mailbox: 'delayed', route: 'delayed', unknown: 'unknown' }[
    then.is
  ];
  const told = await watched.line(`delivery.${event}`, { id });
  expect(told).toMatchObject({ mailbox, attempt: 1, code: then.code, cause });
  expect(String(told['reason'])).toMatch(/\w/);
  expect(
    await watched.metric('delivery_attempts_total', `route="exchange",outcome="${event}",cause="${cause}"`),
  ).toBeGreaterThan(0);
  const now = at(told, 'time');
  const { item, history } = await watched.story(id);
  expect(item.lastStatus).toMatchObject({ code: then.code, cause });
  expect(history.map(({ what }) => what).slice(0, 2)).toEqual(['accepted', 'attempted']);
  switch (then.is) {
    case 'failed':
      await watched.line('delivery.bounced', { id });
      expect((await watched.story(id)).item.state).toBe('bounced');
      return;
    case 'message':
      expect(item).toMatchObject({ state: 'queued', doubtful: false });
      expect(item.due - now).toBeGreaterThan(0.89 * RETRY);
      expect(item.due - now).toBeLessThan(1.11 * RETRY);
      return;
    case 'mailbox': {
      expect(item).toMatchObject({ state: 'queued', doubtful: false, due: item.arrivedAt });
      const held = await watched.line('lane.held', { mailbox });
      expect(Math.abs(at(held, 'until') - now - then.wait)).toBeLessThan(1_000);
      expect(held['throttled']).toBe(then.code === '4.3.2');
      if (then.alarm !== undefined) {
        const alarm = await watched.line('alarm.raised', { alarm: `${then.alarm}:exchange/${mailbox}` });
        expect(alarm['reason']).toBe(then.alarm);
      }
      return;
    }
    case 'route': {
      expect(item).toMatchObject({ state: 'queued', doubtful: false, due: item.arrivedAt });
      const held = await watched.line('route.held', { route: 'exchange' });
      expect(held).toMatchObject({ cause, misconfigured: then.code === '4.3.5' });
      expect(Math.abs(at(held, 'until') - now - then.wait)).toBeLessThan(1_000);
      expect(await watched.metric('route_held', 'route="exchange"')).toBe(1);
      expect(await watched.metric('route_misconfigured', 'route="exchange"')).toBe(then.code === '4.3.5' ? 1 : 0);
      if (then.alarm !== undefined) await watched.line('alarm.raised', { alarm: `${then.alarm}:exchange` });
      return;
    }
    case 'unknown':
      expect(item).toMatchObject({ state: 'queued', doubtful: true });
      expect(Math.abs(item.due - now - VERIFY)).toBeLessThan(1_000);
      return;
    default:
      then satisfies never;
  }
}

beforeAll(async () => {
  place = folder();
  sandbox = await startSandbox({
    mailboxes: ['notifications@contoso.com', 'alice@contoso.com', ...CASES.map(({ mailbox }) => mailbox)].map(
      (address) => ({ address }),
    ),
  });
  caFile = place.write('ca.pem', sandbox.ca);
});

afterAll(async () => {
  await sandbox.close();
  place.remove();
});

it('holds every row of the tables', () => {
  const known = new Set(ROWS.flatMap(({ answers }) => answers));
  const rows = [...RESPONSE_CODES, ...HTTP_STATUSES].flatMap(([keys]): readonly (string | number)[] => keys);
  expect(rows.filter((key) => !known.has(key))).toEqual([]);
});

describe('an answer that concerns a message or its mailbox', () => {
  const cases = CASES.filter((one) => !isOfRoute(one));
  const ids = new Map<Case, string>();
  let watched: Watched;

  beforeAll(async () => {
    watched = await Watched.start('shared', cases);
    // All in one gateway: what holds one of them up must not hold up the others.
    for (const one of cases) ids.set(one, await watched.send(one));
  });
  afterAll(() => watched.gateway.stop('the test is over'));

  it.each(cases.map((one) => [one.name, one] as const))('%s', async (_, one) => {
    await check(watched, one, ids.get(one) ?? '');
  });

  it('raises no alarm but those', () => {
    const raised = new Set(watched.lines.filter(({ event }) => event === 'alarm.raised').map((line) => line['reason']));
    expect([...raised]).toEqual(['mailboxMisconfigured']);
    expect(watched.lines.filter(({ event }) => event === 'bug' || event === 'route.held')).toEqual([]);
  });
});

describe('an answer that concerns the route', () => {
  it.each(CASES.filter(isOfRoute).map((one) => [one.name, one] as const))('%s', async (_, one) => {
    const watched = await Watched.start(`alone-${one.mailbox}`, [one]);
    try {
      await check(watched, one, await watched.send(one));
    } finally {
      await watched.gateway.stop('the test is over');
    }
  });
});
