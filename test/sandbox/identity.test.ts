import { createPublicKey, constants, randomUUID, sign, verify, X509Certificate, type KeyLike } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { generate } from 'selfsigned';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createCertificate, type Certificate } from '../../src/sandbox/certificate.ts';
import { startIdentity, type Identity } from '../../src/sandbox/identity.ts';

const TENANT = '11111111-2222-3333-4444-555555555555';
const RESOURCE = 'https://outlook.office365.com';
const GOOD = {
  grant_type: 'client_credentials',
  client_id: 'app',
  client_secret: 'right',
  scope: `${RESOURCE}/.default`,
};

let tls: Certificate;
let identity: Identity;
let clock = Date.now();
let signer: { certificate: string; key: string };

beforeAll(async () => {
  tls = await createCertificate();
  const made = await generate([{ name: 'commonName', value: 'app' }], { keySize: 2048, algorithm: 'sha256' });
  signer = { certificate: made.cert, key: made.private };
  identity = await startIdentity({
    tls,
    tenantId: TENANT,
    apps: [
      { clientId: 'app', clientSecret: 'right', certificate: signer.certificate, roles: ['full_access_as_app'] },
      { clientId: 'scoped', clientSecret: 'right', roles: [] },
    ],
    now: () => clock,
  });
});
afterAll(async () => await identity.close());
afterEach(async () => {
  clock = Date.now();
  identity.faults.clear();
  identity.lifetime = 3599;
  await identity.start();
});

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

function call(method: string, url: string, form?: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(url, { method, ca: tls.ca, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('error', reject).on('end', () => {
        const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
      });
    });
    request.on('error', reject);
    if (form) request.setHeader('content-type', 'application/x-www-form-urlencoded');
    request.end(form ? new URLSearchParams(form).toString() : undefined);
  });
}
const token = (form: Record<string, string>, tenant = TENANT): Promise<Answer> =>
  call('POST', `${identity.origin}/${tenant}/oauth2/v2.0/token`, form);

describe('certificates of the sandbox', () => {
  it('hold for localhost and both loopback addresses, under a CA of their own', () => {
    const [ca, cert] = [new X509Certificate(tls.ca), new X509Certificate(tls.cert)];
    expect(ca.ca).toBe(true);
    expect(cert.ca).toBe(false);
    expect(cert.checkIssued(ca)).toBe(true);
    expect(cert.verify(ca.publicKey)).toBe(true);
    expect(cert.checkHost('localhost')).toBe('localhost');
    for (const address of ['127.0.0.1', '::1']) expect(cert.checkIP(address)).toBe(address);
    expect(cert.checkHost('outlook.office365.com')).toBeUndefined();
    expect(cert.publicKey.asymmetricKeyType).toBe('ec');
  });

  it('are trusted by the strictest TLS client there is here', async () => {
    const authorized = await new Promise((resolve, reject) => {
      const socket = connectTls({ host: '127.0.0.1', port: identity.port, ca: tls.ca, minVersion: 'TLSv1.3' }, () => {
        resolve(socket.authorized);
        socket.destroy();
      });
      socket.on('error', reject);
    });
    expect(authorized).toBe(true);
  });

  it('are never twice the same, not even in name', async () => {
    const other = await createCertificate();
    expect(new X509Certificate(other.ca).subject).not.toBe(new X509Certificate(tls.ca).subject);
    expect(other.key).not.toBe(tls.key);
  });
});

const pack = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a token from the sandbox', () => {
  it("has Entra's claims, and its keys check it", async () => {
    const answer = await token(GOOD);
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ token_type: 'Bearer', expires_in: 3599, ext_expires_in: 3599 });
    const jwt = String(answer.json['access_token']);
    const at = Math.floor(clock / 1000);
    const verdict = identity.verify(jwt, RESOURCE);
    expect(verdict).toMatchObject({
      ok: true,
      claims: {
        aud: RESOURCE,
        iss: `${identity.authority}/`,
        tid: TENANT,
        appid: 'app',
        roles: ['full_access_as_app'],
        iat: at,
        nbf: at,
        exp: at + 3599,
        ver: '1.0',
      },
    });
    if (!verdict.ok) throw new Error(verdict.reason);
    expect(verdict.claims['oid']).toMatch(/^[0-9a-f]{8}-/);

    const discovery = await call('GET', `${identity.authority}/v2.0/.well-known/openid-configuration`);
    expect(discovery.json['token_endpoint']).toBe(`${identity.authority}/oauth2/v2.0/token`);
    const keys = (await call('GET', String(discovery.json['jwks_uri']))).json['keys'] as Record<string, string>[];
    const [header = '', payload = '', signature = ''] = jwt.split('.');
    const { kid, alg } = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, string>;
    const jwk = keys.find((key) => key['kid'] === kid);
    expect(alg).toBe('RS256');
    expect(jwk).not.toHaveProperty('d');
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    expect(verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))).toBe(true);
    expect((await call('GET', `${identity.origin}/common/discovery/instance?api-version=1.1`)).status).toBe(200);
  });

  it('carries no roles claim where the application has none', async () => {
    const answer = await token({ ...GOOD, client_id: 'scoped' });
    const verdict = identity.verify(String(answer.json['access_token']));
    expect(verdict.ok && 'roles' in verdict.claims).toBe(false);
    expect(verdict.ok).toBe(true);
  });

  it('is not taken when it is old, early, forged, revoked, for someone else or no token', async () => {
    const jwt = String((await token(GOOD)).json['access_token']);
    const [header = '', payload = '', signature = ''] = jwt.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const reason = (candidate: string, audience?: string): unknown => {
      const verdict = identity.verify(candidate, audience);
      return verdict.ok ? 'ok' : verdict.reason;
    };
    expect(reason(jwt)).toBe('ok');
    expect(reason(`${header}.${pack({ ...claims, roles: ['everything'] })}.${signature}`)).toBe(
      'the signature is not ours',
    );
    expect(reason(`${pack({ alg: 'none' })}.${payload}.`)).toBe('the signature is not ours');
    expect(reason(jwt, 'https://graph.microsoft.com')).toMatch(/another audience/);
    for (const junk of ['', 'x', 'a.b.c', `${jwt}.more`]) expect(reason(junk)).toBe('not a JWT');
    clock += 3_600_000;
    expect(reason(jwt)).toBe('expired');
    clock -= 7_200_000;
    expect(reason(jwt)).toBe('not valid yet');
    clock += 3_600_000;
    identity.revokeAll();
    expect(reason(jwt)).toBe('revoked');
    expect(reason(String((await token(GOOD)).json['access_token']))).toBe('ok');
  });
});

describe('the sandbox refuses as Entra does', () => {
  const { client_secret: _, ...none } = GOOD;
  for (const { name, form, tenant, status, error, code } of [
    {
      name: 'a wrong secret',
      form: { ...GOOD, client_secret: 'wrong' },
      status: 401,
      error: 'invalid_client',
      code: 7000215,
    },
    { name: 'no secret at all', form: none, status: 401, error: 'invalid_client', code: 7000218 },
    {
      name: 'an empty secret',
      form: { ...GOOD, client_secret: '' },
      status: 401,
      error: 'invalid_client',
      code: 7000215,
    },
    {
      name: 'an unknown application',
      form: { ...GOOD, client_id: 'nobody' },
      status: 400,
      error: 'unauthorized_client',
      code: 700016,
    },
    {
      name: 'an unknown tenant',
      form: GOOD,
      tenant: 'fabrikam.example',
      status: 400,
      error: 'invalid_request',
      code: 90002,
    },
    {
      name: 'a scope without /.default',
      form: { ...GOOD, scope: `${RESOURCE}/Mail.Send` },
      status: 400,
      error: 'invalid_scope',
      code: 1002012,
    },
    {
      name: 'several scopes',
      form: { ...GOOD, scope: `${RESOURCE}/.default openid` },
      status: 400,
      error: 'invalid_scope',
      code: 70011,
    },
    { name: 'no client id', form: { ...GOOD, client_id: '' }, status: 400, error: 'invalid_request', code: 900144 },
    {
      name: 'another grant',
      form: { ...GOOD, grant_type: 'password' },
      status: 400,
      error: 'unsupported_grant_type',
      code: 70003,
    },
  ]) {
    it(`${name}`, async () => {
      const answer = await token(form, tenant);
      expect({ status: answer.status, error: answer.json['error'], codes: answer.json['error_codes'] }).toEqual({
        status,
        error,
        codes: [code],
      });
      expect(answer.json['error_description']).toMatch(
        new RegExp(`^AADSTS${code}: .* Trace ID: \\S+ Correlation ID: \\S+ Timestamp: \\S+ \\S+Z$`),
      );
      expect(answer.text).not.toContain('right');
    });
  }

  it('anything else is not found', async () => {
    expect((await call('GET', `${identity.authority}/oauth2/v2.0/token`)).status).toBe(404);
    expect((await call('GET', `${identity.origin}/`)).status).toBe(404);
  });
});

function assertion(
  change: { header?: object; claims?: object; key?: KeyLike; padding?: number } = {},
): Record<string, string> {
  const at = Math.floor(clock / 1000);
  const thumbprint = Buffer.from(
    new X509Certificate(signer.certificate).fingerprint256.replaceAll(':', ''),
    'hex',
  ).toString('base64url');
  const header = { alg: 'PS256', typ: 'JWT', 'x5t#S256': thumbprint, ...change.header };
  const claims = {
    aud: `${identity.authority}/oauth2/v2.0/token`,
    iss: 'app',
    sub: 'app',
    jti: randomUUID(),
    nbf: at,
    exp: at + 600,
    ...change.claims,
  };
  const signed = [header, claims].map(pack).join('.');
  const padding = change.padding ?? constants.RSA_PKCS1_PSS_PADDING;
  const options = padding === constants.RSA_PKCS1_PSS_PADDING ? { padding, saltLength: 32 } : { padding };
  const signature = sign('sha256', Buffer.from(signed), {
    key: (change.key ?? signer.key) as string,
    ...options,
  }).toString('base64url');
  return {
    grant_type: 'client_credentials',
    client_id: 'app',
    scope: GOOD.scope,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: `${signed}.${signature}`,
  };
}

describe('client assertions', () => {
  it('signed by PS256 or RS256 are taken', async () => {
    expect((await token(assertion())).status).toBe(200);
    expect((await token(assertion({ header: { alg: 'RS256' }, padding: constants.RSA_PKCS1_PADDING }))).status).toBe(
      200,
    );
    expect((await token(assertion({ claims: { aud: identity.authority } }))).status).toBe(200);
  });

  it('are refused if anything about them is wrong', async () => {
    const other = await generate([{ name: 'commonName', value: 'app' }], { keySize: 2048, algorithm: 'sha256' });
    const at = Math.floor(clock / 1000);
    for (const [form, code] of [
      [assertion({ key: other.private }), 700027],
      [assertion({ header: { 'x5t#S256': 'AAAA' } }), 700027],
      [assertion({ header: { alg: 'none' } }), 700027],
      [assertion({ header: { alg: 'RS256' } }), 700027],
      [assertion({ claims: { iss: 'scoped' } }), 700021],
      [assertion({ claims: { aud: 'https://login.microsoftonline.com/x' } }), 700023],
      [assertion({ claims: { exp: at - 1 } }), 700024],
      [assertion({ claims: { nbf: at + 301 } }), 700024],
      [{ ...assertion(), client_assertion: 'junk' }, 50027],
      [{ ...assertion(), client_id: 'scoped' }, 700027],
      [{ ...assertion(), client_assertion_type: 'other' }, 7000218],
    ] as const) {
      const answer = await token(form);
      expect(answer.json).toMatchObject({ error: 'invalid_client', error_codes: [code] });
      expect(answer.status).toBe(401);
    }
  });
});

describe('the sandbox misbehaves on command', () => {
  it('in the order told, as often as told, then behaves', async () => {
    identity.faults.push(
      { status: 503, times: 2, retryAfter: 7, body: '<html>busy</html>' },
      { aadsts: 7000222 },
      { status: 500 },
    );
    expect(identity.faults.pending).toBe(3);
    for (let turn = 0; turn < 2; turn++) {
      const busy = await token(GOOD);
      expect([busy.status, busy.headers['retry-after'], busy.text]).toEqual([503, '7', '<html>busy</html>']);
    }
    expect((await token(GOOD)).json).toMatchObject({ error: 'invalid_client', error_codes: [7000222] });
    expect(await token(GOOD)).toMatchObject({ status: 500, text: '' });
    expect((await token(GOOD)).status).toBe(200);
    expect(identity.faults.pending).toBe(0);
  });

  it('slowly, cut off, or not at all', async () => {
    identity.faults.push({ delayMs: 200 }, { cut: true });
    const begun = performance.now();
    expect((await token(GOOD)).status).toBe(200);
    expect(performance.now() - begun).toBeGreaterThan(190);
    await expect(token(GOOD)).rejects.toThrow(/socket hang up|ECONNRESET/);
    identity.faults.push({ hang: true });
    const outcome = await Promise.race([
      token(GOOD).catch(() => 'cut'),
      new Promise((resolve) => setTimeout(resolve, 200, 'silent')),
    ]);
    expect(outcome).toBe('silent');
  });

  it('with other lifetimes, for one token or for all', async () => {
    identity.faults.push({ lifetimeSeconds: 5 });
    expect((await token(GOOD)).json['expires_in']).toBe(5);
    identity.lifetime = 60;
    const answer = await token(GOOD);
    expect(answer.json['expires_in']).toBe(60);
    clock += 61_000;
    expect(identity.verify(String(answer.json['access_token']))).toEqual({ ok: false, reason: 'expired' });
  });

  it('by being down; then it is up again where it was, with the keys it had', async () => {
    const jwt = String((await token(GOOD)).json['access_token']);
    const { origin } = identity;
    await identity.stop();
    await identity.stop();
    await expect(token(GOOD)).rejects.toThrow(/ECONNREFUSED/);
    await identity.start();
    await identity.start();
    expect(identity.origin).toBe(origin);
    expect(identity.verify(jwt).ok).toBe(true);
    expect((await token(GOOD)).status).toBe(200);
  });

  it('counts what it is asked', async () => {
    const before = { ...identity.requests };
    identity.faults.push({ status: 500 });
    await token(GOOD);
    await token(GOOD);
    await call('GET', `${identity.authority}/discovery/v2.0/keys`);
    expect(identity.requests).toEqual({ ...before, token: before.token + 2, keys: before.keys + 1 });
  });
});

describe('where it listens', () => {
  it('is loopback and nothing else', async () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.1', 'example.com']) {
      await expect(startIdentity({ tls, tenantId: TENANT, apps: [], host })).rejects.toThrow(
        `binds to loopback only, not to ${host}`,
      );
    }
  });

  it('a port in use is said in words', async () => {
    await expect(startIdentity({ tls, tenantId: TENANT, apps: [], port: identity.port })).rejects.toThrow(
      /cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\)/,
    );
  });
});
