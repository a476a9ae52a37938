import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AADSTS } from '../../src/exchange/advice.ts';
import { createHttp, type Http } from '../../src/exchange/http.ts';
import { createTokenProvider, type TokenFailure } from '../../src/exchange/token.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import { startIdentity, type Identity, type IdentityFault } from '../../src/sandbox/identity.ts';

let identity: Identity;
let http: Http;
beforeAll(async () => {
  const tls = await createCertificate();
  identity = await startIdentity({
    tls,
    tenantId: 'contoso.example',
    apps: [{ clientId: 'gateway', clientSecret: 'right', roles: [] }],
  });
  http = createHttp({ ca: tls.ca });
});
afterAll(async () => {
  await http.close();
  await identity.close();
});

async function failureWith(options: {
  fault?: IdentityFault;
  authority?: string;
  clientId?: string;
  secret?: string;
  scope?: string;
}): Promise<TokenFailure> {
  if (options.fault) identity.faults.push(options.fault);
  const provider = createTokenProvider({
    account: 'main',
    authority: options.authority ?? identity.authority,
    clientId: options.clientId ?? 'gateway',
    credential: { kind: 'secret', secret: options.secret ?? 'right' },
    scope: options.scope ?? 'https://outlook.office365.com/.default',
    http,
    report: () => {},
  });
  const outcome = await provider.get();
  await provider.close();
  if (outcome.ok) throw new Error('a token came');
  return outcome;
}

/** What Entra sends with each code, and the words that must stand in the advice. */
const ROWS: readonly {
  readonly codes: readonly number[];
  readonly error: string;
  readonly status: number;
  readonly misconfigured: boolean;
  readonly says: RegExp;
}[] = [
  { codes: [7000215], error: 'invalid_client', status: 401, misconfigured: true, says: /Value.*not its Secret ID/ },
  {
    codes: [7000222],
    error: 'invalid_client',
    status: 401,
    misconfigured: true,
    says: /expired.*new one.*certificate/,
  },
  { codes: [7000218], error: 'invalid_client', status: 401, misconfigured: true, says: /empty.*environment variable/ },
  { codes: [900144], error: 'invalid_request', status: 400, misconfigured: true, says: /empty.*environment variable/ },
  {
    codes: [700016, 700011],
    error: 'unauthorized_client',
    status: 400,
    misconfigured: true,
    says: /client id and tenant id/,
  },
  { codes: [90002], error: 'invalid_request', status: 400, misconfigured: true, says: /typo.*`cloud`/ },
  {
    codes: [90038, 900382, 900432],
    error: 'invalid_request',
    status: 400,
    misconfigured: true,
    says: /national cloud.*`cloud`/,
  },
  {
    codes: [7000112, 70001, 1000031],
    error: 'unauthorized_client',
    status: 400,
    misconfigured: true,
    says: /disabled.*Enterprise applications/,
  },
  {
    codes: [500011, 50001, 650052, 650057],
    error: 'invalid_resource',
    status: 400,
    misconfigured: true,
    says: /scope is wrong.*no Exchange Online/,
  },
  { codes: [65001, 650056, 90094], error: 'invalid_grant', status: 400, misconfigured: true, says: /admin consent/ },
  { codes: [70011, 1002012, 28002], error: 'invalid_scope', status: 400, misconfigured: true, says: /\/\.default/ },
  {
    codes: [700027, 50012, 700030, 700024],
    error: 'invalid_client',
    status: 401,
    misconfigured: true,
    says: /not uploaded.*clock/,
  },
  {
    codes: [700229, 700211, 700212, 700213],
    error: 'invalid_client',
    status: 401,
    misconfigured: true,
    says: /issuer, subject and audience/,
  },
  { codes: [53003, 530032], error: 'access_denied', status: 400, misconfigured: true, says: /outgoing IP address/ },
  {
    codes: [50033, 90006, 90012, 90024, 90033, 90055, 90090, 40010],
    error: 'temporarily_unavailable',
    status: 503,
    misconfigured: false,
    says: /asked again/,
  },
];

function all(rows: readonly { readonly codes: readonly number[] }[]): number[] {
  return rows.flatMap(({ codes }) => codes).toSorted((a, b) => a - b);
}

describe('what Entra ID refuses, in plain words', () => {
  it('covers every code of the table, each once', () => {
    expect(all(ROWS)).toEqual(all(AADSTS));
    expect(new Set(all(AADSTS)).size).toBe(all(AADSTS).length);
  });

  for (const { codes, error, status, misconfigured, says } of ROWS) {
    for (const code of codes) {
      it(`AADSTS${code} (${error}): ${misconfigured ? 'ours to mend' : 'passes by itself'}`, async () => {
        const failure = await failureWith({ fault: { aadsts: code, error, status } });
        expect(failure).toMatchObject({ cause: `AADSTS${code}`, oauthError: error, misconfigured });
        expect(failure.advice).toMatch(says);
        expect(failure.advice).toContain(`said: AADSTS${code}: `);
      });
    }
  }
});

describe('whether it is ours to mend', () => {
  for (const { status, error, misconfigured } of [
    { status: 401, error: 'invalid_client', misconfigured: true },
    { status: 400, error: 'invalid_request', misconfigured: true },
    { status: 400, error: 'unsupported_grant_type', misconfigured: true },
    { status: 400, error: 'temporarily_unavailable', misconfigured: false },
    { status: 400, error: 'something_new', misconfigured: false },
    { status: 500, error: 'invalid_client', misconfigured: false },
    { status: 503, error: 'invalid_request', misconfigured: false },
    { status: 429, error: 'invalid_request', misconfigured: false },
  ]) {
    it(`is read from ${error} with ${status}, whatever the code`, async () => {
      for (const aadsts of [7000215, 90033, 1234567]) {
        expect(await failureWith({ fault: { aadsts, error, status } })).toMatchObject({
          misconfigured,
          oauthError: error,
          cause: `AADSTS${aadsts}`,
        });
      }
    });
  }

  for (const { status, body, misconfigured, says } of [
    { status: 404, body: '<html>not here</html>', misconfigured: true, says: /No token endpoint.*`authority`/ },
    { status: 403, body: '', misconfigured: true, says: /proxy in between/ },
    { status: 400, body: 'what?', misconfigured: false, says: /No token endpoint/ },
    { status: 302, body: '', misconfigured: false, says: /does not know/ },
    { status: 500, body: '', misconfigured: false, says: /asked again/ },
    { status: 503, body: '<html></html>', misconfigured: false, says: /asked again/ },
    { status: 200, body: '<html>sign in to the network</html>', misconfigured: false, says: /not a token.*portal/ },
    { status: 200, body: '{}', misconfigured: false, says: /does not know/ },
    { status: 200, body: '[1]', misconfigured: false, says: /not a token/ },
    { status: 200, body: '{"access_token":', misconfigured: false, says: /not a token/ },
  ]) {
    it(`is read from ${status} with ${body === '' ? 'nothing' : body}`, async () => {
      const failure = await failureWith({ fault: { status, body } });
      expect(failure).toMatchObject({ cause: `HTTP ${status}`, misconfigured });
      expect(failure.advice).toMatch(says);
      expect(failure).not.toHaveProperty('oauthError');
    });
  }

  it('an endless answer is not read', async () => {
    const failure = await failureWith({ fault: { status: 200, body: 'x'.repeat(2_000_000) } });
    expect(failure).toMatchObject({ cause: 'TOO_LARGE', misconfigured: false });
  });

  it('a mistaken description is cut and kept on one line', async () => {
    const failure = await failureWith({
      fault: {
        status: 400,
        body: JSON.stringify({
          error: 'invalid_request',
          error_description: `line\r\n\u001b[31m${'long '.repeat(1000)}`,
        }),
      },
    });
    expect(failure.cause).toBe('invalid_request');
    expect(failure.advice.length).toBeLessThan(600);
    expect(failure.advice).not.toMatch(/\p{Cc}/u);
  });
});

describe('the sandbox refuses for the same reasons', () => {
  for (const { name, options, cause, error } of [
    { name: 'a wrong secret', options: { secret: 'wrong' }, cause: 'AADSTS7000215', error: 'invalid_client' },
    {
      name: 'an unknown application',
      options: { clientId: 'someone' },
      cause: 'AADSTS700016',
      error: 'unauthorized_client',
    },
    {
      name: 'a scope without /.default',
      options: { scope: 'https://outlook.office365.com/EWS' },
      cause: 'AADSTS1002012',
      error: 'invalid_scope',
    },
  ]) {
    it(`${name}`, async () => {
      expect(await failureWith(options)).toMatchObject({ cause, oauthError: error, misconfigured: true });
    });
  }

  it('an unknown tenant', async () => {
    expect(await failureWith({ authority: `${identity.origin}/fabrikam.example` })).toMatchObject({
      cause: 'AADSTS90002',
      oauthError: 'invalid_request',
      misconfigured: true,
    });
  });
});
