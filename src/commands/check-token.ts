/**
 * The token of each account, and what it says: for whom it is, of which tenant and application, and which roles it carries.
 * A token is not shown, nor any part of it but those.
 */
import { objectIn } from '../exchange/grant.ts';
import type { Account, Claims } from './check-account.ts';
import { lacking, stepOfToken } from './check-step.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';
import { eased } from './finding.ts';

export async function* checkTokens({ accounts }: Walk): AsyncGenerator<Finding> {
  for (const account of accounts) {
    if (!account.needsToken) continue;
    const about = account.about('token');
    if (account.blocked !== undefined) {
      yield { ...about, mark: 'skip', says: `not asked for: ${account.blocked}` };
      continue;
    }
    const got = await account.token();
    if (got === undefined) continue;
    if (!got.ok) {
      account.blocked = 'there is no token';
      const step = stepOfToken(got.cause);
      const mark = eased('fail', account.isSpare);
      yield { ...about, mark, says: `${got.cause}: ${got.advice}`, ...(step === undefined ? {} : { step }) };
      continue;
    }
    yield { ...about, mark: 'ok', says: `good until ${new Date(got.expiresAt).toISOString()}` };
    account.claims = claimsIn(got.token);
    yield { ...account.about('claims'), ...judged(account) };
  }
}

/** Undefined: it cannot be read, which is the service's own business. */
function claimsIn(token: string): Claims | undefined {
  const read = objectIn(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  if (read === undefined) return undefined;
  const text = (name: 'aud' | 'tid' | 'appid'): Pick<Claims, typeof name> | object =>
    typeof read[name] === 'string' ? { [name]: read[name] } : {};
  const { roles } = read;
  return {
    ...text('aud'),
    ...text('tid'),
    ...text('appid'),
    roles: Array.isArray(roles) ? roles.filter((role): role is string => typeof role === 'string') : [],
  };
}

/** Exchange Online and Graph go by these ids too. */
const AUDIENCES: Readonly<Record<string, string>> = {
  '00000002-0000-0ff1-ce00-000000000000': 'ews',
  '00000003-0000-0000-c000-000000000000': 'graph',
};
const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function judged(account: Account): Judged {
  const { claims, way, audience, route } = account;
  if (claims === undefined) return { mark: 'skip', says: 'the token cannot be read' };
  const { tenantId, clientId } = route.exchange;
  const { aud, tid, appid, roles } = claims;
  const isFor = (one: string): boolean =>
    plain(one) === plain(audience) || AUDIENCES[one] === (way === 'smtp' ? 'ews' : way);
  const setting = way === 'graph' ? 'graphScope' : 'scope';
  if (aud !== undefined && !isFor(aud))
    return { mark: 'warn', says: `the token is for ${aud}, not for ${audience}; check cloud and ${setting}` };
  if (tid !== undefined && GUID.test(tenantId) && !isSame(tid, tenantId))
    return { mark: 'fail', says: `the token is of the tenant ${tid}, not of ${tenantId}`, step: 'register-app' };
  if (appid !== undefined && clientId !== '' && !isSame(appid, clientId))
    return { mark: 'fail', says: `the token is of the app ${appid}, not of ${clientId}`, step: 'register-app' };
  if (roles.length === 0)
    return {
      mark: 'ok',
      says: 'roles: none, which is right with RBAC for Applications (otherwise the consent is missing)',
    };
  const missing = lacking(account);
  const says = `roles: ${roles.join(', ')}`;
  if (missing.length === 0) return { mark: 'ok', says };
  return {
    mark: 'warn',
    says: `${says}; not ${missing.join(', ')}, which is right only where RBAC for Applications grants that`,
    step: 'api-permissions',
  };
}

function plain(address: string): string {
  return address.replace(/\/+$/, '').toLowerCase();
}

function isSame(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}
