import { generateKeyPairSync } from 'node:crypto';
import { Readable } from 'node:stream';
import { generate } from 'selfsigned';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createHttp, type Http } from '../../src/exchange/http.ts';
import {
  createTokenProvider,
  type Credential,
  type Token,
  type TokenFailure,
  type TokenOptions,
  type TokenProvider,
} from '../../src/exchange/token.ts';
import type { Event } from '../../src/mail/event.ts';
import { createCertificate, type Certificate } from '../../src/sandbox/certificate.ts';
import { startIdentity, type Identity } from '../../src/sandbox/identity.ts';

const SECRET = 'q7Q~very.secret/value+with=odd&characters';
const SCOPE = 'https://outlook.office365.com/.default';
const TENANT = '11111111-2222-3333-4444-555555555555';
const MINUTE = 60_000;
/** Whether the kept connection's end was noticed before the next request is a matter of luck. */
const UNREACHABLE = /^(ECONNREFUSED|UND_ERR_SOCKET|ECONNRESET)$/;

let tls: Certificate;
let identity: Identity;
let http: Http;
let clock = 0;
let events: Event[] = [];
const providers: TokenProvider[] = [];

beforeAll(async () => {
  tls = await createCertificate();
  identity = await startIdentity({
    tls,
    tenantId: TENANT,
    apps: [{ clientId: 'gateway', clientSecret: SECRET, roles: ['full_access_as_app'] }],
    now: () => clock,
  });
  http = createHttp({ ca: tls.ca });
});
afterAll(async () => {
  await http.close();
  await identity.close();
});
beforeEach(() => {
  clock = Date.now();
  events = [];
});
afterEach(async () => {
  for (const provider of providers.splice(0)) await provider.close();
  await identity.start();
  identity.faults.clear();
  identity.lifetime = 3599;
  identity.apps = [{ clientId: 'gateway', clientSecret: SECRET, roles: ['full_access_as_app'] }];
});

function provide(options: Partial<TokenOptions> = {}): TokenProvider {
  const provider = createTokenProvider({
    account: 'main',
    authority: identity.authority,
    clientId: 'gateway',
    credential: { kind: 'secret', secret: SECRET },
    scope: SCOPE,
    http,
    report: (event) => void events.push(event),
    now: () => clock,
    random: () => 0.5,
    ...options,
  });
  providers.push(provider);
  return provider;
}

function granted(outcome: Token | TokenFailure): Token {
  if (!outcome.ok) throw new Error(outcome.advice);
  return outcome;
}
function denied(outcome: Token | TokenFailure): TokenFailure {
  if (outcome.ok) throw new Error('a token came');
  return outcome;
}
/** Requests to the token endpoint while `work` ran. */
async function requestsDuring(work: () => Promise<unknown>): Promise<number> {
  const before = identity.requests.token;
  await work();
  return identity.requests.token - before;
}
const named = (name: Event['event']): Event[] => events.filter(({ event }) => event === name);

describe('a token', () => {
  it('is asked for once however many want it, without discovery, and is what the server issued', async () => {
    const before = { ...identity.requests };
    const provider = provide();
    const all = await Promise.all(Array.from({ length: 100 }, () => provider.get()));
    expect(new Set(all.map((one) => granted(one).token)).size).toBe(1);
    expect(identity.requests).toEqual({ ...before, token: before.token + 1 });
    const verdict = identity.verify(granted(await provider.get()).token, 'https://outlook.office365.com');
    expect(verdict).toMatchObject({
      ok: true,
      claims: { tid: TENANT, appid: 'gateway', roles: ['full_access_as_app'] },
    });
    expect(identity.requests.token).toBe(before.token + 1);
    expect(events).toEqual([
      {
        event: 'token.acquired',
        account: 'main',
        expiresAt: clock + 3_599_000,
        seconds: expect.any(Number),
        roles: ['full_access_as_app'],
      },
    ]);
    expect(provider.state()).toEqual({ expiresAt: clock + 3_599_000 });
  });

  it('is asked for where the configuration says, whatever the environment says of regions', async () => {
    vi.stubEnv('MSAL_FORCE_REGION', 'westeurope');
    const urls: string[] = [];
    const recording: Http = {
      request: async ({ url }) => {
        urls.push(url.replace(/\?.*/, ''));
        const text = '{"token_type":"Bearer","expires_in":3599,"access_token":"opaque"}';
        return {
          status: 200,
          headers: {},
          body: Readable.from([Buffer.from(text)]),
          text: async () => text,
          discard: () => {},
        };
      },
      close: async () => {},
    };
    try {
      granted(await provide({ http: recording, authority: 'https://login.microsoftonline.com/contoso.example' }).get());
    } finally {
      vi.unstubAllEnvs();
    }
    expect(urls).toEqual(['https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token']);
  });

  it('is renewed in the background from 70 % of its life, while callers get the old one at once', async () => {
    const provider = provide();
    const first = granted(await provider.get());
    clock += 3_599_000 * 0.69;
    expect(await requestsDuring(async () => await provider.get())).toBe(0);
    clock += 3_599_000 * 0.02;
    identity.faults.push({ delayMs: 150 });
    const begun = performance.now();
    const many = await Promise.all(Array.from({ length: 50 }, () => provider.get()));
    expect(performance.now() - begun).toBeLessThan(120);
    expect(new Set(many.map((one) => granted(one).token))).toEqual(new Set([first.token]));
    await expect.poll(async () => granted(await provider.get()).token).not.toBe(first.token);
    expect(named('token.acquired')).toHaveLength(2);
  });

  it('is renewed with jitter, never before half nor after 80 % of its life', async () => {
    for (const { random, refreshAt, quiet, due } of [
      { random: 0, refreshAt: 0.7, quiet: 0.64, due: 0.66 },
      { random: 0.999, refreshAt: 0.7, quiet: 0.74, due: 0.76 },
      { random: 0.5, refreshAt: 0.1, quiet: 0.49, due: 0.51 },
      { random: 0.5, refreshAt: 1, quiet: 0.79, due: 0.81 },
    ]) {
      const provider = provide({ random: () => random, refreshAt });
      const start = clock;
      await provider.get();
      clock = start + 3_599_000 * quiet;
      expect(await requestsDuring(async () => await provider.get())).toBe(0);
      clock = start + 3_599_000 * due;
      const before = identity.requests.token;
      await provider.get();
      await expect.poll(() => identity.requests.token).toBe(before + 1);
      await provider.close();
    }
  });

  it('is renewed by itself when nobody asks', async () => {
    identity.lifetime = 1;
    provide({ now: Date.now });
    const provider = provide({ now: Date.now });
    await provider.get();
    identity.lifetime = 3599;
    await expect.poll(() => named('token.acquired').length, { timeout: 3000 }).toBe(2);
  });

  it('counts its life from the moment it came, whatever the clocks say', async () => {
    const ahead = clock + 6 * 3_600_000;
    const behind = await startIdentity({
      tls,
      tenantId: TENANT,
      apps: [{ clientId: 'gateway', clientSecret: SECRET, roles: [] }],
      now: () => ahead - 12 * 3_600_000,
    });
    try {
      const provider = provide({ authority: behind.authority, now: () => ahead });
      expect(granted(await provider.get()).expiresAt).toBe(ahead + 3_599_000);
      expect(granted(await provider.get()).ok).toBe(true);
      expect(behind.requests.token).toBe(1);
    } finally {
      await behind.close();
    }
  });

  it('is accepted without roles, with one warning that says when this is right', async () => {
    identity.apps = [{ clientId: 'gateway', clientSecret: SECRET, roles: [] }];
    const provider = provide();
    granted(await provider.get());
    clock += 2 * 3_600_000;
    granted(await provider.get());
    expect(named('token.acquired')).toHaveLength(2);
    expect(named('token.warning')).toEqual([
      {
        event: 'token.warning',
        account: 'main',
        warning: expect.stringMatching(/RBAC for Applications.*admin consent/),
      },
    ]);
  });

  it('that is no JWT is accepted as it is', async () => {
    identity.faults.push({
      status: 200,
      contentType: 'application/json',
      body: '{"token_type":"Bearer","expires_in":"3599","access_token":"opaque"}',
    });
    expect(await provide().get()).toEqual({ ok: true, token: 'opaque', expiresAt: clock + 3_599_000 });
    expect(named('token.warning')).toEqual([]);
    expect(named('token.acquired')).toMatchObject([{ roles: [] }]);
  });

  it('without a lifetime is kept for ten minutes', async () => {
    identity.faults.push({
      status: 200,
      contentType: 'application/json',
      body: '{"token_type":"Bearer","access_token":"opaque"}',
    });
    expect(await provide().get()).toMatchObject({ ok: true, expiresAt: clock + 600_000 });
  });
});

describe('a token a server refused', () => {
  it('is replaced once, however many say so', async () => {
    const provider = provide();
    const first = granted(await provider.get());
    const asked = await requestsDuring(async () => {
      await Promise.all(
        Array.from({ length: 50 }, async () => {
          provider.refuse(first.token);
          expect(granted(await provider.get()).token).not.toBe(first.token);
        }),
      );
    });
    expect(asked).toBe(1);
  });

  it('is not replaced again within a minute, then is', async () => {
    const provider = provide();
    provider.refuse(granted(await provider.get()).token);
    const second = granted(await provider.get());
    const asked = await requestsDuring(async () => {
      for (let turn = 0; turn < 20; turn++) {
        provider.refuse(second.token);
        expect(granted(await provider.get()).token).toBe(second.token);
        clock += 2_000;
      }
    });
    expect(asked).toBe(0);
    clock += 21_000;
    provider.refuse(second.token);
    expect(granted(await provider.get()).token).not.toBe(second.token);
  });

  it('is given out again if the identity server gives no other', async () => {
    const provider = provide();
    const first = granted(await provider.get());
    await identity.stop();
    provider.refuse(first.token);
    expect(denied(await provider.get()).cause).toMatch(UNREACHABLE);
    expect(granted(await provider.get()).token).toBe(first.token);
    clock += 2 * MINUTE;
    provider.refuse(first.token);
    denied(await provider.get());
    expect(granted(await provider.get()).token).toBe(first.token);
  });

  it('a word about an older token changes nothing', async () => {
    const provider = provide();
    const first = granted(await provider.get());
    provider.refuse(first.token);
    const second = granted(await provider.get());
    clock += 5 * MINUTE;
    provider.refuse(first.token);
    provider.refuse('never seen');
    expect(granted(await provider.get()).token).toBe(second.token);
  });
});

describe('an identity server in trouble', () => {
  for (const { name, fault } of [
    { name: 'answers 500', fault: { status: 500, times: 100 } },
    { name: 'answers 503 in HTML', fault: { status: 503, body: '<html>busy</html>', times: 100 } },
    { name: 'answers 429', fault: { status: 429, retryAfter: 5, times: 100 } },
    { name: 'cuts connections', fault: { cut: true, times: 100 } },
    { name: 'answers garbage', fault: { status: 200, body: '<html>portal</html>', times: 100 } },
  ]) {
    it(`${name} during renewal: the good token is given out until a minute before its end`, async () => {
      const provider = provide();
      const { token, expiresAt } = granted(await provider.get());
      identity.faults.push(fault);
      for (clock = expiresAt - 15 * MINUTE; clock < expiresAt - MINUTE; clock += MINUTE) {
        expect(granted(await provider.get()).token).toBe(token);
        await expect.poll(() => provider.state().lastFailure).toBeDefined();
      }
      clock = expiresAt - 50_000;
      denied(await provider.get());
      expect(named('token.failed')[0]).toMatchObject({ validUntil: expiresAt });
      expect(named('token.failed').at(-1)).not.toHaveProperty('validUntil');
      identity.faults.clear();
      clock += 2 * MINUTE;
      expect(granted(await provider.get()).token).not.toBe(token);
      expect(provider.state().lastFailure).toBeUndefined();
    });
  }

  it('is down beyond the end of the token and comes back', async () => {
    const provider = provide();
    const { token, expiresAt } = granted(await provider.get());
    await identity.stop();
    clock = expiresAt - 5 * MINUTE;
    expect(granted(await provider.get()).token).toBe(token);
    clock = expiresAt + MINUTE;
    expect(denied(await provider.get())).toMatchObject({
      cause: expect.stringMatching(UNREACHABLE),
      misconfigured: false,
    });
    await identity.start();
    clock += MINUTE + 12_001;
    const again = granted(await provider.get());
    expect(identity.verify(again.token)).toMatchObject({ ok: true });
  });

  it('a clock set back a day neither lengthens a wait nor keeps a refused token', async () => {
    const provider = provide();
    provider.refuse(granted(await provider.get()).token);
    const second = granted(await provider.get());
    clock -= 1440 * MINUTE;
    // Moved with the clock: it still lives an hour from now, not a day.
    expect(granted(await provider.get()).expiresAt).toBe(second.expiresAt - 1440 * MINUTE);
    clock += MINUTE + 1;
    provider.refuse(second.token);
    const third = granted(await provider.get());
    expect(third.token).not.toBe(second.token);
    await identity.stop();
    clock = third.expiresAt + MINUTE;
    expect(denied(await provider.get()).ok).toBe(false);
    await identity.start();
    clock -= 1440 * MINUTE;
    await provider.get();
    clock += 2 * MINUTE;
    expect(granted(await provider.get()).token).not.toBe(third.token);
  });

  it('is asked ever more slowly, one request at a time, and not by impatience', async () => {
    const provider = provide();
    identity.faults.push({ status: 500, times: 1000 });
    const asked: number[] = [];
    const start = clock;
    for (; clock < start + 5 * MINUTE; clock += 500) {
      const before = identity.requests.token;
      await Promise.all([provider.get(), provider.get()]);
      if (identity.requests.token > before) asked.push((clock - start) / 1000);
      expect(identity.requests.token - before).toBeLessThanOrEqual(1);
    }
    expect(asked).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
  });

  for (const { form, retryAfter } of [
    { form: 'seconds', retryAfter: () => 90 },
    { form: 'a date', retryAfter: () => new Date(clock + 90_000).toUTCString() },
  ]) {
    it(`says when to come back in ${form}, and is obeyed`, async () => {
      const provider = provide();
      identity.faults.push({ status: 429, retryAfter: retryAfter() });
      const failure = denied(await provider.get());
      expect(failure).toMatchObject({ cause: 'HTTP 429', misconfigured: false });
      expect(failure.retryAfter).toBeGreaterThan(88_000);
      expect(failure.retryAfter).toBeLessThanOrEqual(90_500);
      clock += 80_000;
      expect(
        await requestsDuring(async () => expect(denied(await provider.get()).retryAfter).toBeLessThan(11_000)),
      ).toBe(0);
      clock += 10_501;
      granted(await provider.get());
    });
  }

  it('cannot silence us for longer than an hour', async () => {
    const provider = provide();
    identity.faults.push({ status: 503, retryAfter: 1_000_000 });
    expect(denied(await provider.get()).retryAfter).toBe(3_600_000);
    clock += 3_600_000;
    granted(await provider.get());
  });

  it('that never answers is given up in time, and is asked again', async () => {
    const provider = provide({ timeout: 200 });
    identity.faults.push({ hang: true });
    const failure = denied(await provider.get());
    expect(failure).toMatchObject({ cause: 'TIMEOUT', misconfigured: false });
    expect(failure.advice).toContain('within 0.2 s');
    clock += MINUTE;
    granted(await provider.get());
  });

  it('that is slow is waited for', async () => {
    identity.faults.push({ delayMs: 300 });
    expect(await provide().get()).toMatchObject({ ok: true });
  });

  it('a caller that gives up gets its answer at once, the others their token', async () => {
    const provider = provide();
    identity.faults.push({ delayMs: 300 });
    const patient = provider.get();
    const begun = performance.now();
    expect(denied(await provider.get(AbortSignal.timeout(50))).cause).toBe('ABORTED');
    expect(performance.now() - begun).toBeLessThan(250);
    expect(denied(await provider.get(AbortSignal.abort())).cause).toBe('ABORTED');
    granted(await patient);
  });

  it('close() ends what is under way; afterwards there are no tokens', async () => {
    const provider = provide();
    identity.faults.push({ hang: true });
    const pending = provider.get();
    await expect.poll(() => identity.faults.pending).toBe(0);
    await provider.close();
    await provider.close();
    expect(denied(await pending).cause).toBe('ABORTED');
    expect(denied(await provider.get()).cause).toBe('ABORTED');
    expect(events).toEqual([]);
  });

  it('whose certificate is not trusted is a fault of the configuration, said with the issuer', async () => {
    const untrusting = createHttp();
    try {
      const failure = denied(await provide({ http: untrusting }).get());
      expect(failure.misconfigured).toBe(true);
      expect(failure.advice).toMatch(/issued by "smtp2exchange sandbox CA.*caFile/);
    } finally {
      await untrusting.close();
    }
  });
});

describe('a credential', () => {
  let certificate: Extract<Credential, { kind: 'certificate' }>;
  beforeAll(async () => {
    const made = await generate([{ name: 'commonName', value: 'gateway' }], { keySize: 2048, algorithm: 'sha256' });
    certificate = { kind: 'certificate', certificate: made.cert, privateKey: made.private };
  });

  it('by certificate works from end to end, and the server checks it', async () => {
    identity.apps = [{ clientId: 'gateway', certificate: certificate.certificate, roles: ['full_access_as_app'] }];
    // The assertion's times are the real ones.
    clock = Date.now();
    const token = granted(await provide({ credential: certificate }).get());
    expect(identity.verify(token.token)).toMatchObject({ ok: true, claims: { appidacr: '2' } });
    const other = await generate([{ name: 'commonName', value: 'gateway' }], { keySize: 2048, algorithm: 'sha256' });
    const failure = denied(
      await provide({ credential: { kind: 'certificate', certificate: other.cert, privateKey: other.private } }).get(),
    );
    expect(failure).toMatchObject({ cause: 'AADSTS700027', oauthError: 'invalid_client', misconfigured: true });
  });

  it('by certificate works with an encrypted key, a chain, and warns of its end', async () => {
    identity.apps = [{ clientId: 'gateway', certificate: certificate.certificate, roles: ['x'] }];
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    expect(() => provide({ credential: { ...certificate, privateKey } })).toThrow(/does not belong to the certificate/);
    const soon = await generate([{ name: 'commonName', value: 'gateway' }], {
      keySize: 2048,
      algorithm: 'sha256',
      passphrase: 'open sesame',
      notAfterDate: new Date(clock + 5 * 86_400_000),
    });
    identity.apps = [{ clientId: 'gateway', certificate: soon.cert, roles: ['x'] }];
    const credential: Credential = {
      kind: 'certificate',
      certificate: `${soon.cert}\n${tls.ca}`,
      privateKey: soon.private,
      passphrase: 'open sesame',
    };
    granted(await provide({ credential }).get());
    expect(named('token.warning')).toMatchObject([
      { warning: expect.stringContaining(new Date(clock + 5 * 86_400_000).toISOString().slice(0, 10)) },
    ]);
  });

  it('or an authority that cannot work is said at once', () => {
    expect(() => provide({ credential: { kind: 'secret', secret: '' } })).toThrow(/client secret is empty/);
    for (const authority of [
      'http://127.0.0.1:1/tenant',
      'https://login.microsoftonline.com',
      'login.microsoftonline.com/tenant',
    ]) {
      expect(() => provide({ authority })).toThrow(/must be an https address that ends in the tenant/);
    }
  });
});

function echo(repeated: string): string {
  return JSON.stringify({
    error: 'invalid_client',
    error_description: `AADSTS7000215: got ${repeated} or ${encodeURIComponent(repeated)}`,
    error_codes: [7000215],
  });
}

describe('secrecy', () => {
  it('neither secret, key, assertion nor token is in any event, failure or state, even if the server repeats it', async () => {
    const made = await generate([{ name: 'commonName', value: 'gateway' }], {
      keySize: 2048,
      algorithm: 'sha256',
      passphrase: 'open sesame',
    });
    const certificate: Credential = {
      kind: 'certificate',
      certificate: made.cert,
      privateKey: made.private,
      passphrase: 'open sesame',
    };
    identity.apps = [{ clientId: 'gateway', clientSecret: SECRET, certificate: made.cert, roles: [] }];
    const said: unknown[] = [];
    const tokens: string[] = [];
    const jwt = `${Buffer.from('{"alg":"PS256"}').toString('base64url')}.${Buffer.from('{"iss":"gateway","sub":"gateway"}').toString('base64url')}.c2lnbmF0dXJl`;
    for (const credential of [{ kind: 'secret', secret: SECRET }, certificate] as const) {
      for (const fault of [
        undefined,
        { status: 401, body: echo(credential.kind === 'secret' ? SECRET : jwt) },
        { status: 500, body: SECRET },
        { status: 200, body: `{"access_token":"", "x":"${SECRET}"}` },
        { cut: true },
        { hang: true },
        { aadsts: 7000215 },
      ]) {
        if (fault) identity.faults.push(fault);
        const provider = provide({ credential, timeout: 150 });
        const outcome = await provider.get();
        if (outcome.ok) tokens.push(outcome.token);
        else said.push(outcome);
        said.push(provider.state());
        await provider.close();
      }
    }
    expect(tokens).toHaveLength(2);
    expect(named('token.failed')).toHaveLength(12);
    const all = JSON.stringify([said, events]);
    const keyLine = made.private.split('\n')[2] ?? '';
    for (const hidden of [SECRET, encodeURIComponent(SECRET), jwt, 'open sesame', keyLine, ...tokens]) {
      expect(hidden.length).toBeGreaterThan(8);
      expect(all).not.toContain(hidden);
    }
    expect(all).not.toMatch(/eyJ[\w-]{10,}/);
    expect(all).toContain('[secret] or [secret]');
    expect(all).toContain('[token] or [token]');
  });
});
