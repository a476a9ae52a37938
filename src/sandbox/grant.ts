/**
 * The client credentials grant as Entra ID decides it (RFC 6749 section 4.4; signed assertions by RFC 7523 section 2.2), and
 * the words of its refusals. Pure but for the clock it is given; a bad request is a value, nothing throws.
 */
import { constants, createHash, verify as verifySignature, X509Certificate } from 'node:crypto';

export interface App {
  readonly clientId: string;
  readonly clientSecret?: string;
  /** PEM; its public key checks client assertions. */
  readonly certificate?: string;
  /** Another identity provider whose tokens stand for the application (workload identity federation). */
  readonly federation?: { readonly issuer: string; readonly subject: string; readonly publicKey: string };
  /** It is the identity of the machine itself, or one that was assigned to it: no credential is asked for. */
  readonly managed?: 'system' | 'user';
  /** The roles claim; empty: the token carries none, as with RBAC for Applications. */
  readonly roles: readonly string[];
}

export type Claims = Readonly<Record<string, unknown>>;

/** Entra's refusal: HTTP status, OAuth error, AADSTS code, sentence. */
export interface Refusal {
  readonly status: number;
  readonly error: string;
  readonly code: number;
  readonly text: string;
}

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** The client credentials grant (RFC 6749 section 4.4; assertions by RFC 7523 section 2.2), in the order Entra checks. */
export function grant(
  form: URLSearchParams,
  tenant: string,
  server: { readonly authority: string; readonly apps: readonly App[]; readonly tenantId: string },
  now: () => number,
): { readonly app: App; readonly resource: string } | Refusal {
  if (tenant.toLowerCase() !== server.tenantId.toLowerCase()) return usualRefusal(90002);
  const missing = ['grant_type', 'client_id', 'scope'].find((name) => !form.get(name));
  if (missing !== undefined)
    return { ...usualRefusal(900144), text: `The request body must contain the following parameter: '${missing}'.` };
  if (form.get('grant_type') !== 'client_credentials') return usualRefusal(70003);
  const app = server.apps.find((candidate) => candidate.clientId === form.get('client_id'));
  if (!app) return usualRefusal(700016);
  const resource = /^(\S+)\/\.default$/.exec(form.get('scope') ?? '')?.[1];
  if (resource === undefined) return usualRefusal(form.get('scope')?.includes('.default') ? 70011 : 1002012);
  const secret = form.get('client_secret');
  if (secret !== null) return app.clientSecret === secret ? { app, resource } : usualRefusal(7000215);
  if (form.get('client_assertion_type') !== ASSERTION_TYPE) return usualRefusal(7000218);
  const fault = checkAssertion(
    form.get('client_assertion') ?? '',
    app,
    [server.authority, `${server.authority}/oauth2/v2.0/token`],
    now,
  );
  return fault ?? { app, resource };
}

function checkAssertion(
  assertion: string,
  app: App,
  audiences: readonly string[],
  now: () => number,
): Refusal | undefined {
  const read = readJwt(assertion);
  if (!read) return usualRefusal(50027);
  if (app.federation) return checkFederated(read, app.federation, now);
  const bad = (text: string): Refusal => ({ ...usualRefusal(700027), text });
  if (app.certificate === undefined) return bad('Client assertion failed signature validation. The key was not found.');
  const certificate = new X509Certificate(app.certificate);
  const thumbprint = createHash('sha256').update(certificate.raw).digest('base64url');
  if (read.header['x5t#S256'] !== thumbprint)
    return bad(`The certificate with identifier used to sign the client assertion is not registered on application.`);
  const padding = { PS256: constants.RSA_PKCS1_PSS_PADDING, RS256: constants.RSA_PKCS1_PADDING }[
    String(read.header['alg'])
  ];
  if (padding === undefined) return bad('The algorithm of the client assertion is not allowed.');
  const key = {
    key: certificate.publicKey,
    padding,
    ...(padding === constants.RSA_PKCS1_PSS_PADDING ? { saltLength: 32 } : {}),
  };
  if (!verifySignature('sha256', read.signed, key, read.signature))
    return bad('Client assertion failed signature validation.');
  const { aud, iss, sub, exp, nbf } = read.claims;
  if (iss !== app.clientId || sub !== app.clientId) return usualRefusal(700021);
  if (!audiences.includes(String(aud))) return usualRefusal(700023);
  const at = Math.floor(now() / 1000);
  if (typeof exp !== 'number' || exp <= at || (typeof nbf === 'number' && nbf > at + 300)) return usualRefusal(700024);
  return undefined;
}

/** What Entra compares: issuer, subject and audience, each with a code of its own. */
function checkFederated(
  { header, claims, signed, signature }: NonNullable<ReturnType<typeof readJwt>>,
  federation: NonNullable<App['federation']>,
  now: () => number,
): Refusal | undefined {
  const bad = (code: number, what: string): Refusal => ({
    ...usualRefusal(700027),
    code,
    text: `No matching federated identity record found for presented assertion ${what}.`,
  });
  if (claims['iss'] !== federation.issuer) return bad(700211, 'issuer');
  if (claims['sub'] !== federation.subject) return bad(700213, 'subject');
  if (claims['aud'] !== 'api://AzureADTokenExchange') return bad(700212, 'audience');
  if (header['alg'] !== 'RS256' || !verifySignature('sha256', signed, federation.publicKey, signature))
    return usualRefusal(700027);
  const { exp } = claims;
  return typeof exp === 'number' && exp > Math.floor(now() / 1000) ? undefined : usualRefusal(700024);
}

export function readJwt(
  token: string,
): { header: Record<string, unknown>; claims: Claims; signed: Buffer; signature: Buffer } | undefined {
  const [header, payload, signature, ...rest] = token.split('.');
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) return undefined;
  try {
    return {
      header: part(header),
      claims: part(payload),
      signed: Buffer.from(`${header}.${payload}`),
      signature: Buffer.from(signature, 'base64url'),
    };
  } catch {
    return undefined;
  }
}

function part(text: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Record<string, unknown>;
}

/** Status and OAuth error Entra gives with a code, and a sentence like its own. */
export function usualRefusal(code: number): Refusal {
  const of = (status: number, error: string, text: string): Refusal => ({ status, error, code, text });
  switch (code) {
    case 7000215:
      return of(
        401,
        'invalid_client',
        'Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.',
      );
    case 7000222:
      return of(401, 'invalid_client', 'The provided client secret keys for the app are expired.');
    case 7000218:
      return of(
        401,
        'invalid_client',
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
      );
    case 700027:
      return of(
        401,
        'invalid_client',
        'The certificate used to sign the client assertion is not registered on the application, or its signature is wrong.',
      );
    case 50027:
      return of(401, 'invalid_client', 'JWT token is invalid or malformed.');
    case 700021:
      return of(
        401,
        'invalid_client',
        'Client assertion application identifier does not match the client_id parameter.',
      );
    case 700023:
      return of(401, 'invalid_client', 'Client assertion audience claim does not match Realm issuer.');
    case 700024:
      return of(401, 'invalid_client', 'Client assertion is not within its valid time range.');
    case 700016:
      return of(400, 'unauthorized_client', 'Application was not found in the directory.');
    case 90002:
      return of(
        400,
        'invalid_request',
        'Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.',
      );
    case 900144:
      return of(400, 'invalid_request', 'The request body must contain a parameter that is missing.');
    case 70003:
      return of(400, 'unsupported_grant_type', 'The app requested an unsupported grant type.');
    case 70011:
      return of(400, 'invalid_scope', 'The provided value for scope is not valid.');
    case 1002012:
      return of(
        400,
        'invalid_scope',
        'The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.',
      );
    default:
      return of(400, 'invalid_request', 'The sandbox was told to refuse with this code.');
  }
}
