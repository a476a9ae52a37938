/** Tokens without a secret: the identity of an Azure machine, and the token of another identity provider. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HttpWithLanes } from '../../src/exchange/http.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { Credential, RenewableTokenProvider } from '../../src/exchange/token.ts';
import { createTokenProvider } from '../../src/exchange/token.ts';
import type { App } from '../../src/sandbox/identity.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';

const AUDIENCE = 'https://outlook.office365.com';
const SYSTEM = '11111111-aaaa-4000-8000-000000000001';
const USER = '11111111-aaaa-4000-8000-000000000002';
const FEDERATED = '11111111-aaaa-4000-8000-000000000003';
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const federation = {
  issuer: 'https://kubernetes.test',
  subject: 'system:serviceaccount:mail:gateway',
  publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
};
const apps: readonly App[] = [
  { clientId: SYSTEM, managed: 'system', roles: ['full_access_as_app'] },
  { clientId: USER, managed: 'user', roles: ['full_access_as_app'] },
  { clientId: FEDERATED, federation, roles: ['full_access_as_app'] },
];

const folder = mkdtempSync(join(tmpdir(), 'token-'));
const tokenFile = join(folder, 'token');
let sandbox: Sandbox;
let http: HttpWithLanes;
let provider: RenewableTokenProvider | undefined;

beforeAll(async () => {
  sandbox = await startSandbox({ mailboxes: [], apps });
  http = createHttp({ ca: sandbox.ca });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await provider?.close();
});
afterAll(async () => {
  await http.close();
  await sandbox.close();
  rmSync(folder, { recursive: true });
});

function provide(credential: Credential, clientId = '', authority = '', by = http): RenewableTokenProvider {
  const scope = `${AUDIENCE}/.default`;
  provider = createTokenProvider({ account: 'a', authority, clientId, credential, scope, http: by, report: () => {} });
  return provider;
}

/** @returns who the token is for, or why there is none */
async function got(from: RenewableTokenProvider): Promise<unknown> {
  const token = await from.get();
  if (!token.ok) return token;
  const verdict = sandbox.identity.verify(token.token, AUDIENCE);
  return verdict.ok
    ? { for: verdict.claims['appid'], seconds: Math.round((token.expiresAt - Date.now()) / 1000) }
    : verdict;
}

describe('a managed identity of the instance metadata service', () => {
  beforeEach(() => void vi.stubEnv('AZURE_POD_IDENTITY_AUTHORITY_HOST', sandbox.identity.origin));

  it('is the one of the machine, or the one named', async () => {
    expect(await got(provide({ kind: 'managedIdentity' }))).toEqual({ for: SYSTEM, seconds: 3599 });
    await provider?.close();
    expect(await got(provide({ kind: 'managedIdentity', clientId: USER }))).toEqual({ for: USER, seconds: 3599 });
  });

  it('says what to do where there is none', async () => {
    const failure = await got(provide({ kind: 'managedIdentity', clientId: FEDERATED }));
    expect(failure).toMatchObject({ ok: false, misconfigured: true });
    expect(failure).toHaveProperty('advice', expect.stringMatching(/user-assigned identity.*Identity not found/));
  });
});

it('a managed identity of App Service is asked for where its environment says', async () => {
  // In a process of its own: msal-node looks at the environment once.
  const script = `
    const { createHttp } = await import('./src/exchange/http.ts');
    const { createTokenProvider } = await import('./src/exchange/token.ts');
    const http = createHttp({ ca: process.env.CA });
    const credential = { kind: 'managedIdentity', clientId: '${USER}' };
    const options = { account: 'a', authority: '', clientId: '', credential, scope: '${AUDIENCE}/.default', http, report() {} };
    const provider = createTokenProvider(options);
    console.log(JSON.stringify(await provider.get()));
    await provider.close();
    await http.close();
  `;
  const { origin, identityHeader } = sandbox.identity;
  const env = {
    ...process.env,
    CA: sandbox.ca,
    IDENTITY_ENDPOINT: `${origin}/msi/token`,
    IDENTITY_HEADER: identityHeader,
  };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
  const { token, expiresAt } = JSON.parse(stdout) as { token: string; expiresAt: number };
  expect(sandbox.identity.verify(token, AUDIENCE)).toMatchObject({ ok: true, claims: { appid: USER } });
  expect(Math.abs(expiresAt - Date.now() - 3_599_000)).toBeLessThan(5_000);
});

it('says what to do where no machine has an identity', async () => {
  vi.stubEnv('AZURE_POD_IDENTITY_AUTHORITY_HOST', sandbox.identity.origin);
  await sandbox.stop();
  const fresh = createHttp({ ca: sandbox.ca });
  const failure = await got(provide({ kind: 'managedIdentity' }, '', '', fresh));
  await fresh.close();
  await sandbox.start();
  expect(failure).toMatchObject({ ok: false, cause: 'ECONNREFUSED' });
  expect(failure).toHaveProperty('advice', expect.stringContaining('no Azure machine'));
});

function assertion(claims: Readonly<Record<string, unknown>> = {}): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 600;
  const body = { iss: federation.issuer, sub: federation.subject, aud: 'api://AzureADTokenExchange', exp, ...claims };
  const signed = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(body)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
}

describe('the token of another identity provider', () => {
  const federated = (): RenewableTokenProvider =>
    provide({ kind: 'workloadIdentity', tokenFile }, FEDERATED, sandbox.authority);

  it('is read anew at each use', async () => {
    writeFileSync(tokenFile, `${assertion({ sub: 'somebody else' })}\n`);
    expect(await got(federated())).toMatchObject({ ok: false, cause: 'AADSTS700213', misconfigured: true });
    await provider?.close();
    const again = federated();
    writeFileSync(tokenFile, `${assertion()}\n`);
    expect(await got(again)).toEqual({ for: FEDERATED, seconds: 3599 });
  });

  it.each([
    ['is gone', () => rmSync(tokenFile), /cannot be read \(ENOENT\)/],
    ['holds something else', () => writeFileSync(tokenFile, 'hunter2'), /holds no token/],
  ])('asks nobody where the file %s', async (_what, spoil, says) => {
    writeFileSync(tokenFile, assertion());
    spoil();
    const { token: before } = sandbox.identity.requests;
    const failure = await got(federated());
    expect(failure).toMatchObject({ ok: false, cause: 'NO_ASSERTION', misconfigured: true });
    expect(failure).toHaveProperty('advice', expect.stringMatching(says));
    expect(JSON.stringify(failure)).not.toContain('hunter2');
    expect(sandbox.identity.requests.token).toBe(before);
  });
});

describe('another credential', () => {
  const kind = 'secret' as const;

  it('takes the place of one that was refused, at once', async () => {
    const from = provide({ kind, secret: 'wrong' }, sandbox.clientId, sandbox.authority);
    expect(await got(from)).toMatchObject({ cause: 'AADSTS7000215' });
    expect(from.replace({ kind, secret: sandbox.clientSecret })).toBeUndefined();
    expect(await got(from)).toMatchObject({ for: sandbox.clientId });
  });

  it('is not kept waiting by a request with the old one that is under way', async () => {
    const from = provide({ kind, secret: 'wrong' }, sandbox.clientId, sandbox.authority);
    const { token: before } = sandbox.identity.requests;
    sandbox.identity.faults.push({ delayMs: 200 });
    const waiting = got(from);
    await expect.poll(() => sandbox.identity.faults.pending).toBe(0);
    expect(from.replace({ kind, secret: sandbox.clientSecret })).toBeUndefined();
    expect(await waiting).toMatchObject({ for: sandbox.clientId });
    expect(from.state()).not.toHaveProperty('lastFailure');
    expect(sandbox.identity.requests.token).toBe(before + 2);
  });

  it('stays away if it cannot be used', async () => {
    const from = provide({ kind, secret: sandbox.clientSecret }, sandbox.clientId, sandbox.authority);
    expect(from.replace({ kind, secret: ' ' })).toMatch(/is empty/);
    expect(await got(from)).toMatchObject({ for: sandbox.clientId });
  });
});
