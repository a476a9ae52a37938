/**
 * One token request to Entra ID (OAuth 2.0 client credentials, RFC 6749 section 4.4), and what its failure means. msal-node
 * builds the request and signs the assertion; keeping, throttling and reading errors are not left to it. Never rejects; a
 * failure never holds secret, assertion or token, whatever the server sent. The only file that knows msal-node.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  ConfidentialClientApplication,
  ManagedIdentityApplication,
  type INetworkModule,
  type NetworkRequestOptions,
  type NetworkResponse,
} from '@azure/msal-node';
import { adviceFor, isMisconfigured } from './advice.ts';
import { unreachable } from '../mail/status.ts';
import { readAssertion } from './assertion.ts';
import { type CheckedCredential } from './credential.ts';
import type { TokenFailure } from './token-failure.ts';
import { HttpFailure, type Http } from './http.ts';
import { retryAfterOf } from '../mail/retry-after.ts';

export type { TokenFailure } from './token-failure.ts';

export interface GrantOptions {
  readonly authority: string;
  readonly clientId: string;
  readonly credential: CheckedCredential;
  readonly scope: string;
  readonly http: Http;
  readonly now: () => number;
  /** Milliseconds. */
  readonly timeout: number;
}

export interface Granted {
  readonly ok: true;
  readonly token: string;
  /** Milliseconds. */
  readonly expiresIn: number;
}

/** What came over the wire, as far as it got. */
interface Wire {
  failure?: HttpFailure;
  status?: number;
  /** Milliseconds. */
  retryAfter?: number | undefined;
  body?: Readonly<Record<string, unknown>>;
}

export type RequestToken = (signal: AbortSignal) => Promise<Granted | TokenFailure>;

/** Throws an Error with a plain sentence if the authority cannot work. */
export function requestWith(options: GrantOptions): RequestToken {
  const { credential } = options;
  if (credential.kind === 'managedIdentity') return asMachine(options, credential.clientId);
  const authority = options.authority.replace(/\/+$/, '');
  const url = URL.parse(authority);
  if (url?.protocol !== 'https:' || url.pathname.length < 2) {
    throw new Error(
      'the authority must be an https address that ends in the tenant, for example https://login.microsoftonline.com/contoso.com',
    );
  }
  const { now, timeout } = options;
  const auth = {
    clientId: options.clientId,
    authority,
    // Both together: no discovery, the one request is the one for the token, and no environment variable turns it to a region's host.
    knownAuthorities: [url.host],
    authorityMetadata: JSON.stringify({
      issuer: `${authority}/v2.0`,
      token_endpoint: `${authority}/oauth2/v2.0/token`,
      authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
      jwks_uri: `${authority}/discovery/v2.0/keys`,
    }),
  };
  return async (signal) => {
    const wire: Wire = {};
    const limit = AbortSignal.timeout(timeout);
    const networkClient = networkOn(options.http, wire, AbortSignal.any([signal, limit]), now);
    const proof = await proofOf(credential);
    if ('ok' in proof) return proof;
    let token: string | undefined;
    try {
      // A new one each time: an application object throttles itself for a minute after a failure, and would answer from its own cache.
      const application = new ConfidentialClientApplication({
        auth: { ...auth, ...proof },
        system: { networkClient },
      });
      const result = await application.acquireTokenByClientCredential({
        scopes: [options.scope],
        skipCache: true,
      });
      token = result?.accessToken;
    } catch (error) {
      if (wire.failure === undefined && wire.status === undefined) return notEvenSent(error);
    }
    if (limit.aborted && wire.failure?.code === 'ABORTED') return tooLate(url.host, timeout);
    if (token !== undefined && token !== '' && wire.body)
      return { ok: true, token, expiresIn: lifetimeOf(wire.body, now()) };
    return failureOf(wire, url.host, credential);
  };
}

function tooLate(host: string, timeout: number): TokenFailure {
  return {
    ok: false,
    cause: 'TIMEOUT',
    misconfigured: false,
    advice: `${host} gave no token within ${timeout / 1000} s. Check the network; it is asked again.`,
  };
}

type Proof =
  | { readonly clientSecret: string }
  | { readonly clientAssertion: string }
  | { readonly clientCertificate: { readonly thumbprintSha256: string; readonly privateKey: string } };

/** As msal-node wants it; or why there is none. */
async function proofOf(
  credential: Exclude<CheckedCredential, { kind: 'managedIdentity' }>,
): Promise<Proof | TokenFailure> {
  switch (credential.kind) {
    case 'secret':
      return { clientSecret: credential.secret };
    case 'certificate':
      return { clientCertificate: { thumbprintSha256: credential.thumbprint, privateKey: credential.privateKey } };
    case 'workloadIdentity': {
      const read = await readAssertion(credential.tokenFile);
      return read.ok ? { clientAssertion: read.assertion } : read;
    }
    default:
      return unreachable(credential);
  }
}

/**
 * With the identity of the Azure machine or service this runs on: the environment says where to ask (App Service, Arc and
 * others), and else the instance metadata service, 169.254.169.254.
 */
function asMachine(options: GrantOptions, userAssignedClientId: string | undefined): RequestToken {
  const { now, timeout } = options;
  return async (signal) => {
    const wire: Wire = {};
    const limit = AbortSignal.timeout(timeout);
    const network = networkOn(options.http, wire, AbortSignal.any([signal, limit]), now);
    let token: string | undefined;
    try {
      const application = new ManagedIdentityApplication({
        ...(userAssignedClientId === undefined ? {} : { managedIdentityIdParams: { userAssignedClientId } }),
        system: { networkClient: MACHINE_NETWORK, disableInternalRetries: true },
      });
      const resource = options.scope.replace(/\/\.default$/, '');
      const result = await ofRequest.run(network, () => application.acquireToken({ resource, forceRefresh: true }));
      token = result.accessToken;
    } catch (error) {
      if (wire.failure === undefined && wire.status === undefined) return notEvenSent(error);
    }
    if (limit.aborted && wire.failure?.code === 'ABORTED') return tooLate(MACHINE, timeout);
    if (token !== undefined && token !== '' && wire.body)
      return { ok: true, token, expiresIn: lifetimeOf(wire.body, now()) };
    return machineFailure(failureOf(wire, MACHINE, options.credential), wire, userAssignedClientId);
  };
}

const MACHINE = 'the managed identity endpoint';

/** msal-node keeps the first network module it gets for the life of the process: so this one finds the one of the request. */
const ofRequest = new AsyncLocalStorage<INetworkModule>();
const MACHINE_NETWORK: INetworkModule = {
  sendGetRequestAsync: async (url, options) => await current().sendGetRequestAsync(url, options),
  sendPostRequestAsync: async (url, options) => await current().sendPostRequestAsync(url, options),
};

function current(): INetworkModule {
  const network = ofRequest.getStore();
  if (network === undefined) throw new Error('a token request outside of its own context');
  return network;
}

function machineFailure(failure: TokenFailure, { status, body }: Wire, clientId: string | undefined): TokenFailure {
  if (status === undefined) {
    const where = 'This is no Azure machine or service with a managed identity, or a firewall keeps its endpoint away.';
    return { ...failure, advice: `${failure.advice} ${where} Check exchange.managedIdentity.` };
  }
  if (status !== 400 && status !== 403 && status !== 404) return failure;
  const which = clientId === undefined ? 'system-assigned identity' : 'user-assigned identity with this client ID';
  const said = textIn(body, 'error_description') ?? textIn(body, 'message');
  const told = said === undefined ? '' : ` It said: ${shown(said, { kind: 'managedIdentity' })}`;
  return {
    ...failure,
    misconfigured: status !== 404,
    advice: `The machine has no ${which}, or may not use it. Turn it on or assign it in Azure (Identity), and check exchange.managedIdentity.${told}`,
  };
}

/** Carries msal-node's requests on our own dispatcher and keeps what it would not tell. */
function networkOn(http: Http, wire: Wire, signal: AbortSignal, now: () => number): INetworkModule {
  const send = async <T>(method: string, url: string, options?: NetworkRequestOptions): Promise<NetworkResponse<T>> => {
    try {
      const answer = await http.request({
        method,
        url,
        headers: { accept: 'application/json', ...options?.headers },
        ...(options?.body === undefined ? {} : { body: options.body }),
        signal,
      });
      wire.status = answer.status;
      wire.retryAfter = retryAfterOf(answer.headers, now());
      const text = await answer.text(1_048_576);
      const body = objectIn(text);
      if (!body) throw new Error('the answer is not a JSON object');
      wire.body = body;
      return { headers: { ...answer.headers }, body: body as T, status: answer.status };
    } catch (error) {
      if (error instanceof HttpFailure) wire.failure = error;
      throw error;
    }
  };
  return {
    sendGetRequestAsync: async (url, options) => await send('GET', url, options),
    sendPostRequestAsync: async (url, options) => await send('POST', url, options),
  };
}

/** Milliseconds. Servers send a number or a numeric text, App Service a moment; one that says nothing gets ten minutes. */
function lifetimeOf(body: Readonly<Record<string, unknown>>, now: number): number {
  const seconds = Number(body['expires_in'] ?? Number(body['expires_on']) - now / 1000);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 600_000;
}

function notEvenSent(error: unknown): TokenFailure {
  const code =
    typeof error === 'object' && error !== null && 'errorCode' in error ? String(error.errorCode) : 'request_not_built';
  return {
    ok: false,
    cause: code,
    misconfigured: true,
    advice: 'The token request could not be made. Check client id, authority, scope and credential.',
  };
}

const TRUST = /CERT|ALTNAME|UNABLE_TO_|SELF_SIGNED|^PROXY_4/;

function failureOf(wire: Wire, host: string, credential: CheckedCredential): TokenFailure {
  const { status, body, failure } = wire;
  const later = wire.retryAfter === undefined ? {} : { retryAfter: wire.retryAfter };
  if (status === undefined || failure !== undefined) {
    const cause = failure?.code ?? 'NO_ANSWER';
    return {
      ok: false,
      cause,
      misconfigured: TRUST.test(cause),
      advice: sentence(failure?.message ?? `${host} gave no answer`),
      ...later,
    };
  }
  const text = textIn(body, 'error_description');
  const error = textIn(body, 'error');
  const codes = codesIn(body, text);
  const refused = { status, codes, ...(error === undefined ? {} : { error }) };
  if (!body && status >= 200 && status < 300) {
    return {
      ok: false,
      cause: `HTTP ${status}`,
      misconfigured: false,
      advice: `${host} answered something that is not a token. Check \`authority\`, and whether a proxy or portal in between answers instead.`,
      ...later,
    };
  }
  const said = text === undefined ? '' : ` ${host} said: ${shown(text, credential)}`;
  // Anything else in that place is no OAuth error and may hold what it likes.
  const word = error !== undefined && /^\w{1,40}$/.test(error) ? error : undefined;
  return {
    ok: false,
    cause: codes[0] === undefined ? (word ?? `HTTP ${status}`) : `AADSTS${codes[0]}`,
    ...(word === undefined ? {} : { oauthError: word }),
    misconfigured: isMisconfigured(refused),
    advice: adviceFor(refused) + said,
    ...later,
  };
}

function textIn(body: Readonly<Record<string, unknown>> | undefined, name: string): string | undefined {
  const value = body?.[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function codesIn(body: Readonly<Record<string, unknown>> | undefined, text: string | undefined): readonly number[] {
  const listed = body?.['error_codes'];
  const codes = Array.isArray(listed) ? listed.filter((code): code is number => Number.isSafeInteger(code)) : [];
  const named = /AADSTS(\d{4,9})/.exec(text ?? '')?.[1];
  return named === undefined || codes.includes(Number(named)) ? codes : [Number(named), ...codes];
}

/** What a server said may be shown, but nothing of ours that it repeats. */
function shown(text: string, credential: CheckedCredential): string {
  const plain = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  const own = credential.kind === 'secret' ? [credential.secret, encodeURIComponent(credential.secret)] : [];
  const clean = own.reduce((left, secret) => left.replaceAll(secret, '[secret]'), plain);
  return clean.replace(/[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/g, '[token]').slice(0, 400);
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** A JSON object, or nothing. */
export function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
