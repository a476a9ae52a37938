/**
 * A small Entra ID on loopback: discovery, keys and the client credentials grant with a secret or a signed assertion,
 * answering and refusing in Entra's own words. It misbehaves on command. Binds to loopback addresses only.
 * The package oauth2-mock-server keeps the keys and signs the tokens; its token endpoint does not stand here because it
 * checks no credential and can neither delay, hang nor break an answer. The only file that knows it.
 */
import { createHash, randomUUID, verify as verifySignature, createPublicKey, type KeyObject } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { OAuth2Issuer } from 'oauth2-mock-server';
import { createListener } from './listener.ts';
import { grant, readJwt, usualRefusal, type App, type Claims, type Refusal } from './grant.ts';

export type { App, Claims } from './grant.ts';

export interface IdentityOptions {
  readonly tls: { readonly cert: string; readonly key: string };
  /** Default 0: any free port. */
  readonly port?: number;
  /** Default 127.0.0.1; only loopback addresses are taken. */
  readonly host?: string;
  readonly tenantId: string;
  readonly apps: readonly App[];
  readonly now?: () => number;
}

/** One misbehaviour of the token endpoint; plain data, so that a control API can carry it. */
export interface IdentityFault {
  /** How many requests it hits, default 1. */
  readonly times?: number;
  /** Milliseconds before anything else. */
  readonly delayMs?: number;
  /** Never answers. */
  readonly hang?: boolean;
  /** Cuts the connection instead of answering. */
  readonly cut?: boolean;
  /** HTTP status; with no body: an empty one. */
  readonly status?: number;
  /** Sent as it is. */
  readonly body?: string;
  readonly contentType?: string;
  /** Retry-After: seconds, or a date as it shall stand in the header. */
  readonly retryAfter?: number | string;
  /** Entra's error document with this code; `error` and `status` default to what Entra uses with it. */
  readonly aadsts?: number;
  readonly error?: string;
  /** The token is issued with this lifetime, seconds. */
  readonly lifetimeSeconds?: number;
}

export type Verdict = { readonly ok: true; readonly claims: Claims } | { readonly ok: false; readonly reason: string };

export interface Identity {
  /** https://127.0.0.1:port */
  readonly origin: string;
  /** origin/tenant */
  readonly authority: string;
  readonly port: number;
  readonly faults: { push(...faults: IdentityFault[]): void; clear(): void; readonly pending: number };
  /** Requests so far, by endpoint; those that were answered badly or not at all count too. */
  readonly requests: { token: number; discovery: number; keys: number; managed: number; other: number };
  /** The most requests for a token that were under way together. */
  readonly mostAtOnce: number;
  /** What App Service's endpoint wants in X-IDENTITY-HEADER: its variable IDENTITY_HEADER. */
  readonly identityHeader: string;
  /** Seconds a token lives, default 3599. */
  lifetime: number;
  /** Replaces the registered applications. */
  apps: readonly App[];
  /** Signature, times and issuer; the audience too if given. */
  verify(token: string, audience?: string): Verdict;
  /** Every token issued so far is refused by verify() from now on. */
  revokeAll(): void;
  /** Down: connections are cut and refused. */
  stop(): Promise<void>;
  /** Up again, same port, same keys. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Rejects with an Error that says what is wrong if the port is taken (then with the system's code) or the address is not loopback. */
export async function startIdentity(options: IdentityOptions): Promise<Identity> {
  const host = options.host ?? '127.0.0.1';
  const now = options.now ?? Date.now;
  const issuer = new OAuth2Issuer();
  await issuer.keys.generate('RS256');
  const [jwk] = issuer.keys.toJSON();
  if (!jwk) throw new Error('the key store gave no key');
  const publicKey = createPublicKey({ key: { ...jwk }, format: 'jwk' });
  const faults: IdentityFault[] = [];
  const identityHeader = randomUUID();
  let serial = 0;
  let revoked = 0;

  const issue = async (app: App, resource: string, lifetime: number): Promise<string> =>
    await issuer.buildToken({
      scopesOrTransform: (header, payload) => {
        header['x5t'] = header.kid;
        const at = Math.floor(now() / 1000);
        const times = { iat: at, nbf: at, exp: at + lifetime };
        const issued = { iss: `${identity.authority}/`, aud: resource, tid: options.tenantId, uti: String(++serial) };
        Object.assign(payload, times, issued, claimsOf(app));
      },
    });

  const atOnce = { now: 0, most: 0 };
  const answerToken = async (
    request: IncomingMessage,
    tenant: string,
    response: ServerResponse,
    stopped: AbortSignal,
  ): Promise<void> => {
    const form = new URLSearchParams(await textOf(request, 65_536));
    const fault = takeFault(faults);
    if (fault?.delayMs !== undefined) await delay(fault.delayMs, undefined, { ref: false, signal: stopped });
    if (fault?.hang) return;
    if (fault?.cut) return void request.socket.destroy();
    if (fault?.retryAfter !== undefined) response.setHeader('retry-after', String(fault.retryAfter));
    if (fault?.aadsts !== undefined) {
      const usual = usualRefusal(fault.aadsts);
      return sendRefusal(response, now, {
        ...usual,
        status: fault.status ?? usual.status,
        error: fault.error ?? usual.error,
      });
    }
    if (fault?.status !== undefined || fault?.body !== undefined) {
      response.writeHead(fault.status ?? 200, { 'content-type': fault.contentType ?? 'text/html' });
      return void response.end(fault.body ?? '');
    }
    const granted = grant(
      form,
      tenant,
      { authority: identity.authority, apps: identity.apps, tenantId: options.tenantId },
      now,
    );
    if ('error' in granted) return sendRefusal(response, now, granted);
    const lifetime = fault?.lifetimeSeconds ?? identity.lifetime;
    const token = await issue(granted.app, granted.resource, lifetime);
    sendJson(response, 200, {
      token_type: 'Bearer',
      expires_in: lifetime,
      ext_expires_in: lifetime,
      access_token: token,
    });
  };

  /** As the instance metadata service answers, or App Service: without a credential, to who is on the machine. */
  const answerMachine = async (
    request: IncomingMessage,
    kind: MachineEndpoint,
    response: ServerResponse,
  ): Promise<void> => {
    identity.requests.managed++;
    const query = new URL(request.url ?? '/', identity.origin).searchParams;
    const isOurs =
      kind === 'metadata'
        ? request.headers['metadata'] === 'true'
        : request.headers['x-identity-header'] === identityHeader;
    if (!isOurs || !query.has('api-version')) return sendJson(response, 400, { error: 'invalid_request' });
    const clientId = query.get('client_id');
    const app = identity.apps.find((one) =>
      clientId === null ? one.managed === 'system' : one.managed === 'user' && one.clientId === clientId,
    );
    if (!app) return sendJson(response, 400, { error: 'invalid_request', error_description: 'Identity not found' });
    const resource = query.get('resource') ?? '';
    const token = await issue(app, resource, identity.lifetime);
    const expiresOn = String(Math.floor(now() / 1000) + identity.lifetime);
    const more =
      kind === 'metadata' ? { expires_in: String(identity.lifetime), ext_expires_in: String(identity.lifetime) } : {};
    sendJson(response, 200, {
      access_token: token,
      client_id: app.clientId,
      expires_on: expiresOn,
      resource,
      token_type: 'Bearer',
      ...more,
    });
  };

  const answer = async (request: IncomingMessage, response: ServerResponse, stopped: AbortSignal): Promise<void> => {
    const [, tenant = '', ...rest] = new URL(request.url ?? '/', identity.origin).pathname
      .replace(/\/$/, '')
      .split('/');
    const what = `${request.method} ${rest.join('/')}`;
    switch (what) {
      case 'GET identity/oauth2/token':
        if (tenant === 'metadata') return await answerMachine(request, 'metadata', response);
        break;
      case 'GET token':
        if (tenant === 'msi') return await answerMachine(request, 'appService', response);
        break;
      case 'POST oauth2/v2.0/token':
        identity.requests.token++;
        atOnce.now++;
        atOnce.most = Math.max(atOnce.most, atOnce.now);
        response.once('close', () => atOnce.now--);
        return await answerToken(request, tenant, response, stopped);
      case 'GET v2.0/.well-known/openid-configuration':
        identity.requests.discovery++;
        return sendJson(response, 200, discovery(identity.origin, tenant));
      case 'GET discovery/instance':
        identity.requests.discovery++;
        return sendJson(response, 200, {
          tenant_discovery_endpoint: `${identity.authority}/v2.0/.well-known/openid-configuration`,
          'api-version': '1.1',
          metadata: [],
        });
      case 'GET discovery/v2.0/keys':
        identity.requests.keys++;
        return sendJson(response, 200, { keys: issuer.keys.toJSON() });
      default:
    }
    identity.requests.other++;
    return sendJson(response, 404, {
      error: 'not_found',
      error_description: 'smtp2exchange sandbox: no such endpoint',
    });
  };

  const { cert, key } = options.tls;
  const listener = createListener({
    name: 'identity server',
    tls: { cert, key },
    host,
    port: options.port ?? 0,
    answer,
  });
  const identity: Identity = {
    get origin() {
      return listener.origin;
    },
    get authority() {
      return `${identity.origin}/${options.tenantId}`;
    },
    get port() {
      return listener.port;
    },
    faults: {
      push: (...more) => void faults.push(...more),
      clear: () => void faults.splice(0),
      get pending() {
        return faults.length;
      },
    },
    requests: { token: 0, discovery: 0, keys: 0, managed: 0, other: 0 },
    get mostAtOnce() {
      return atOnce.most;
    },
    identityHeader,
    lifetime: 3599,
    apps: options.apps,
    verify: (token, audience) =>
      judge(token, {
        publicKey,
        issuer: `${identity.authority}/`,
        at: Math.floor(now() / 1000),
        revoked,
        ...(audience === undefined ? {} : { audience }),
      }),
    revokeAll: () => void (revoked = serial),
    stop: async () => await listener.stop(),
    start: async () => {
      await listener.start();
      issuer.url = identity.origin;
    },
    close: async () => await identity.stop(),
  };
  await identity.start();
  return identity;
}

/** Of Azure's ways to give a machine a token. */
type MachineEndpoint = 'metadata' | 'appService';

/** What a token says of the application itself. */
function claimsOf(app: App): Claims {
  const oid = objectId(app.clientId);
  return {
    appid: app.clientId,
    appidacr: app.certificate === undefined ? '1' : '2',
    idtyp: 'app',
    oid,
    sub: oid,
    ...(app.roles.length === 0 ? {} : { roles: [...app.roles] }),
    ver: '1.0',
  };
}

interface Expected {
  readonly publicKey: KeyObject;
  readonly issuer: string;
  /** Epoch seconds. */
  readonly at: number;
  /** Tokens up to this serial number are revoked. */
  readonly revoked: number;
  readonly audience?: string;
}

function no(reason: string): Verdict {
  return { ok: false, reason };
}

function judge(token: string, expected: Expected): Verdict {
  const read = readJwt(token);
  if (!read) return no('not a JWT');
  if (read.header['alg'] !== 'RS256' || !verifySignature('sha256', read.signed, expected.publicKey, read.signature)) {
    return no('the signature is not ours');
  }
  const { aud, exp, iss, nbf, uti } = read.claims;
  if (iss !== expected.issuer) return no('another issuer');
  if (typeof exp !== 'number' || exp <= expected.at) return no('expired');
  if (typeof nbf !== 'number' || nbf > expected.at) return no('not valid yet');
  if (Number(uti) <= expected.revoked) return no('revoked');
  if (expected.audience !== undefined && aud !== expected.audience) return no(`for another audience: ${String(aud)}`);
  return { ok: true, claims: read.claims };
}

function takeFault(faults: IdentityFault[]): IdentityFault | undefined {
  const [first] = faults;
  if (!first) return undefined;
  const left = (first.times ?? 1) - 1;
  if (left > 0) faults[0] = { ...first, times: left };
  else faults.shift();
  return first;
}

function sendRefusal(response: ServerResponse, now: () => number, refusal: Refusal): void {
  const [trace, correlation] = [randomUUID(), randomUUID()];
  const timestamp = new Date(now())
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z');
  sendJson(response, refusal.status, {
    error: refusal.error,
    error_description: `AADSTS${refusal.code}: ${refusal.text} Trace ID: ${trace} Correlation ID: ${correlation} Timestamp: ${timestamp}`,
    error_codes: [refusal.code],
    timestamp,
    trace_id: trace,
    correlation_id: correlation,
  });
}

function discovery(origin: string, tenant: string): Record<string, unknown> {
  const base = `${origin}/${tenant}`;
  return {
    issuer: `${base}/v2.0`,
    token_endpoint: `${base}/oauth2/v2.0/token`,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    jwks_uri: `${base}/discovery/v2.0/keys`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'],
    response_types_supported: ['code'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
  };
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(JSON.stringify(value));
}

/** Stable for a client id, shaped like the object id of its service principal. */
function objectId(clientId: string): string {
  const hex = createHash('sha256').update(clientId).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

async function textOf(request: IncomingMessage, limit: number): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('latin1')) {
    text += chunk as string;
    if (text.length > limit) throw new Error('request too large');
  }
  return text;
}
