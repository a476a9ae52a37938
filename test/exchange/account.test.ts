/**
 * Logins with a password against the sandbox's Exchange, which judges them by code of its own. That the sandbox is right
 * is shown by other clients: curl in .ci/clients, and the NTLM client of the EWS library here.
 */
import { createRequire } from 'node:module';
import { Agent, request as httpsRequest } from 'node:https';
import { afterEach, describe, expect, it } from 'vitest';
import type { AccountAuthorizer } from '../../src/exchange/account.ts';
import { accountAuthorizer, REFUSED_PAUSE } from '../../src/exchange/account.ts';
import type { Ews } from '../../src/exchange/ews.ts';
import { createEws } from '../../src/exchange/ews.ts';
import type { HttpRequest, HttpWithLanes } from '../../src/exchange/http.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';

const SENDER = 'sender@contoso.test';
const READER = 'reader@contoso.test';
const ACCOUNT = { username: 'svc-gateway', domain: 'CONTOSO', password: 'Pässwörd 1' };
const LOGINS = ['ntlm', 'basic'] as const;

interface Site {
  readonly sandbox: Sandbox;
  readonly http: HttpWithLanes;
  readonly authorizer: AccountAuthorizer;
  readonly ews: Ews;
  clock: number;
}

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function site(
  login: 'ntlm' | 'basic',
  options: Partial<SandboxOptions> = {},
  account: typeof ACCOUNT = ACCOUNT,
): Promise<Site> {
  const sandbox = await startSandbox({
    mailboxes: [{ address: SENDER }, { address: READER }],
    accounts: [ACCOUNT],
    extendedProtection: 'require',
    ...options,
  });
  const http = createHttp({ ca: sandbox.ca });
  const made = { clock: Date.now() };
  const authorizer = accountAuthorizer({
    http,
    url: sandbox.ewsUrl,
    userAgent: 'test',
    login,
    account,
    now: () => made.clock,
  });
  const ews = await createEws({ url: sandbox.ewsUrl, authorizer, version: '1' });
  undo.push(
    () => sandbox.close(),
    () => http.close(),
  );
  return Object.assign(made, { sandbox, http, authorizer, ews });
}

let serial = 0;
function message(size = 100): Parameters<Ews['send']>[0] {
  const head = `From: ${SENDER}\r\nTo: ${READER}\r\nSubject: ${++serial}\r\n\r\n`;
  const content = {
    length: head.length + size,
    async *open() {
      yield Buffer.from(head);
      for (let left = size; left > 0; left -= 65_536) yield Buffer.alloc(Math.min(left, 65_536), 'x');
    },
  };
  return { mailbox: SENDER, spoolId: `item-${serial}`, blind: [], saveCopy: true, content };
}

/** In the time a refused connection takes, the end of the others has come through. */
async function restart({ sandbox, http }: Pick<Site, 'sandbox' | 'http'>): Promise<void> {
  await sandbox.stop();
  for (let times = 0; times < 2; times++)
    await expect(http.request({ method: 'GET', url: sandbox.ewsUrl, headers: {} })).rejects.toThrow();
  await sandbox.start();
}

const never = new AbortController().signal;

describe.each(LOGINS)('%s', (login) => {
  it('sends, small and large, one after another and at the same time, each once', async () => {
    const { ews, sandbox } = await site(login);
    expect(await ews.send(message(), never)).toMatchObject({ outcome: 'relayed' });
    expect(await ews.send(message(2_000_000), never)).toMatchObject({ outcome: 'relayed' });
    expect(sandbox.accounts.tries).toEqual({ right: login === 'ntlm' ? 1 : 3, wrong: 0 });
    const together = await Promise.all(Array.from({ length: 8 }, () => ews.send(message(50_000), never)));
    for (const status of together) expect(status).toMatchObject({ outcome: 'relayed' });
    expect(sandbox.mailbox(READER).inbox).toHaveLength(10);
  });

  it('tries a wrong password once, however many messages wait, and again after a quarter of an hour', async () => {
    const made = await site(login, {}, { ...ACCOUNT, password: 'wrong' });
    const { ews, sandbox } = made;
    const all = await Promise.all(Array.from({ length: 6 }, () => ews.send(message(), never)));
    for (const status of all) {
      expect(status).toMatchObject({ outcome: 'delayed', code: '4.3.5', reach: 'transport', cause: 'LOGIN_REFUSED' });
      expect(JSON.stringify(status)).not.toContain('wrong"');
    }
    expect(sandbox.accounts.tries).toEqual({ right: 0, wrong: 1 });
    made.clock += REFUSED_PAUSE - 1;
    expect(await ews.send(message(), never)).toMatchObject({ cause: 'LOGIN_REFUSED', retryAfter: 1 });
    expect(sandbox.accounts.tries.wrong).toBe(1);
    made.clock += 1;
    await ews.send(message(), never);
    expect(sandbox.accounts.tries.wrong).toBe(2);
  });

  it('goes on at once with a new password', async () => {
    const { ews, authorizer, sandbox, http } = await site(login);
    expect(await ews.send(message(), never)).toMatchObject({ outcome: 'relayed' });
    sandbox.accounts.accounts = [{ ...ACCOUNT, password: 'new' }];
    await restart({ sandbox, http });
    expect(await ews.send(message(), never)).toMatchObject({ outcome: 'delayed', cause: 'LOGIN_REFUSED' });
    authorizer.replace({ ...ACCOUNT, password: 'new' });
    expect(await ews.send(message(), never)).toMatchObject({ outcome: 'relayed' });
  });

  it('says what is offered where its way is not', async () => {
    const other = login === 'ntlm' ? 'basic' : 'ntlm';
    const { ews } = await site(login, { schemes: [other] });
    const status = await ews.send(message(), never);
    expect(status).toMatchObject({ outcome: 'delayed', code: '4.3.5', cause: 'LOGIN_NOT_OFFERED' });
    expect(JSON.stringify(status)).toContain(`exchange.login: ${other}`);
  });

  it('passes on that the account may not act for a mailbox', async () => {
    const { ews } = await site(login, { accounts: [{ ...ACCOUNT, mailboxes: [READER] }] });
    expect(await ews.send(message(), never)).toMatchObject({ cause: 'ErrorImpersonateUserDenied' });
  });

  it('looks for what was sent', async () => {
    const { ews } = await site(login);
    const search = { mailbox: SENDER, folder: 'sentitems', messageId: '<none@x>', offset: 0 } as const;
    expect(await ews.find(search, never)).toEqual({ ok: true, marks: [], more: false });
  });

  it('is no unclear outcome where the server vanishes before or in the login', async () => {
    const { ews, sandbox } = await site(login);
    await sandbox.stop();
    expect(await ews.send(message(), never)).toMatchObject({ outcome: 'delayed', cause: 'ECONNREFUSED' });
  });
});

describe('a new password', () => {
  it('is not kept waiting by logins with the old one that are under way or in the queue', async () => {
    const asked: string[] = [];
    const first = Promise.withResolvers<void>();
    const right = `Basic ${Buffer.from('svc-gateway:right').toString('base64')}`;
    const http: HttpWithLanes = {
      async request({ headers }) {
        const field = headers['authorization'] ?? '';
        asked.push(field);
        if (asked.length === 1) await first.promise;
        const status = field === right ? 200 : 401;
        const body = (async function* () {})();
        return { status, headers: { 'www-authenticate': 'Basic' }, body, text: async () => '', discard() {} };
      },
      lane: () => {
        throw new Error('Basic needs none');
      },
      close: async () => {},
    };
    const account = { username: 'svc-gateway', domain: '', password: 'wrong' };
    const authorizer = accountAuthorizer({ http, url: 'https://x/', userAgent: 'test', login: 'basic', account });
    const make = (): HttpRequest => ({ method: 'POST', url: 'https://x/', headers: {} });
    const both = [authorizer.send(make, never), authorizer.send(make, never)];
    await expect.poll(() => asked.length).toBe(1);
    authorizer.replace({ ...account, password: 'right' });
    first.resolve();
    for (const one of both) expect(await one).toMatchObject({ ok: true, response: { status: 200 } });
    expect(asked.filter((field) => field !== right)).toHaveLength(1);
  });
});

describe('ntlm', () => {
  it('logs in anew where a connection was ended', async () => {
    const { ews, sandbox, http } = await site('ntlm');
    await ews.send(message(), never);
    await restart({ sandbox, http });
    expect(await ews.send(message(), never)).toMatchObject({ outcome: 'relayed' });
    expect(sandbox.accounts.tries).toEqual({ right: 2, wrong: 0 });
  });

  it('takes the account as name@domain too', async () => {
    const upn = { ...ACCOUNT, username: 'svc@contoso.test', domain: '' };
    const { ews } = await site('ntlm', { accounts: [{ ...ACCOUNT, username: 'svc@contoso.test' }] }, upn);
    expect(await ews.send(message(), never)).toMatchObject({ outcome: 'relayed' });
  });

  it('names Extended Protection where a binding can be the reason', async () => {
    const { ews } = await site('ntlm', {}, { ...ACCOUNT, password: 'wrong' });
    expect(JSON.stringify(await ews.send(message(), never))).toMatch(/Extended Protection.*0xC000035B/);
  });
});

interface Ntlm {
  createType1Message(workstation: string, domain: string): string;
  decodeType2Message(text: string): unknown;
  createType3Message(type2: unknown, user: string, password: string, workstation: string, domain: string): string;
}

it.each([
  ['Pässwörd 1', 405],
  ['another', 401],
])('the sandbox judges the NTLM of the EWS library right: %s', async (password, expected) => {
  const sandbox = await startSandbox({ mailboxes: [], accounts: [ACCOUNT] });
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: sandbox.ca });
  undo.push(
    () => sandbox.close(),
    async () => agent.destroy(),
  );
  const ours = createRequire(import.meta.url);
  const theirs = createRequire(createRequire(ours.resolve('ews-javascript-api')).resolve('@ewsjs/xhr'));
  const ntlm = theirs('@ewsjs/ntlm-client') as Ntlm;
  const ask = (authorization: string): Promise<{ status: number; field: string }> =>
    new Promise((resolve, reject) => {
      const asked = httpsRequest(sandbox.ewsUrl, { agent, method: 'PUT', headers: { authorization } }, (answer) => {
        answer.resume();
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, field: answer.headers['www-authenticate'] ?? '' }),
        );
      });
      asked.on('error', reject);
      asked.end();
    });
  const first = await ask(ntlm.createType1Message('', ''));
  expect(first.status).toBe(401);
  const type2 = ntlm.decodeType2Message(first.field);
  const { status } = await ask(ntlm.createType3Message(type2, ACCOUNT.username, password, '', ACCOUNT.domain));
  expect(status).toBe(expected);
});
