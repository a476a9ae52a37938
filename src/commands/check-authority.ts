/**
 * The identity server of each account (on-premises: Exchange): whether it can be reached with a chain of certificates that
 * is trusted and answers as one, and how far this machine's clock is from its. One GET of what anybody may read; no login.
 */
import { objectIn } from '../exchange/grant.ts';
import { HttpFailure } from '../exchange/failure.ts';
import type { Account } from './check-account.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';
import { PATIENCE } from './finding.ts';

/** Milliseconds: told from here on. */
const OFF = 120_000;
/** Assertions are good for a few minutes, and Kerberos allows five. */
const TOO_FAR = 300_000;
/** Octets of a discovery document. */
const DOCUMENT = 1024 * 1024;

interface Asked {
  readonly judged: Judged;
  /** Its clock less ours, milliseconds; absent: it does not say. */
  readonly skew?: number;
}

export async function* checkAuthorities({ accounts, now, stop }: Walk): AsyncGenerator<Finding> {
  const known = new Map<string, Asked>();
  for (const account of accounts) {
    const url = urlOf(account);
    if (url === undefined) continue;
    const { route } = account;
    const about = { route: route.name, at: url.host };
    if (account.blocked !== undefined) {
      if (!known.has(url.href))
        yield { ...about, what: 'authority', mark: 'skip', says: `not tried: ${account.blocked}` };
      known.set(url.href, { judged: { mark: 'skip', says: '' } });
      continue;
    }
    const before = known.get(`${route.name} ${url.href}`);
    const asked = before ?? (await ask(account, url, now, AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)])));
    if (asked.judged.mark === 'fail') account.blocked = `${url.host} cannot be used`;
    if (before !== undefined) continue;
    known.set(`${route.name} ${url.href}`, asked);
    yield { ...about, what: 'authority', ...asked.judged };
    if (asked.judged.mark !== 'fail') yield { ...about, what: 'clock', ...clock(asked.skew) };
  }
}

/** Undefined: there is none to ask. The identity of a machine is had from the machine, SMTP with a password from nobody. */
function urlOf(account: Account): URL | undefined {
  const { authority, ewsUrl } = account.route.exchange;
  if (account.isOnPremises) return account.way === 'smtp' ? undefined : new URL(ewsUrl);
  if (!account.needsToken || authority === '') return undefined;
  return new URL(`${authority}/v2.0/.well-known/openid-configuration`);
}

async function ask({ http, isOnPremises }: Account, url: URL, now: () => number, signal: AbortSignal): Promise<Asked> {
  const begun = now();
  try {
    const answer = await http.request({ method: 'GET', url: url.href, headers: {}, signal });
    // Half of the way there and back.
    const at = (begun + now()) / 2;
    const theirs = Date.parse(answer.headers['date'] ?? '');
    const { status } = answer;
    const text = await answer.text(DOCUMENT).catch(() => '');
    const judged = isOnPremises ? atServer(status) : atAuthority(status, text, url.host);
    // The field has whole seconds, cut off.
    return { judged, ...(Number.isNaN(theirs) ? {} : { skew: theirs + 500 - at }) };
  } catch (error) {
    if (error instanceof HttpFailure) return { judged: { mark: 'fail', says: `${error.code}: ${error.message}` } };
    throw error;
  }
}

/** What a wrong tenant is answered with is said better with the token. */
function atAuthority(status: number, text: string, host: string): Judged {
  if (status >= 500)
    return {
      mark: 'fail',
      says: `HTTP ${status}: the identity server has trouble of its own, or a proxy before it. Nothing to do but to wait, if ${host} is right`,
    };
  if (status === 407)
    return { mark: 'fail', says: 'HTTP 407: the proxy wants a login; put user and password into its URL' };
  if (objectIn(text) !== undefined) return { mark: 'ok', says: 'reached, and its certificate is trusted' };
  return {
    mark: 'fail',
    says: `HTTP ${status}: what answers is no identity server. Check exchange.authority, and whether a proxy or portal in between answers instead`,
  };
}

function atServer(status: number): Judged {
  return status >= 500
    ? { mark: 'fail', says: `HTTP ${status}: Exchange, or a balancer before it, is not available` }
    : { mark: 'ok', says: 'reached, and its certificate is trusted' };
}

function clock(skew: number | undefined): Judged {
  if (skew === undefined) return { mark: 'skip', says: 'it does not say what time it has' };
  const off = Math.abs(skew);
  const says = `this machine's clock is ${Math.round(off / 1000)} s ${skew > 0 ? 'behind' : 'ahead'}`;
  if (off <= OFF) return { mark: 'ok', says: off < 2_000 ? 'the clocks agree' : says };
  const mend = 'Set it, and keep it right by NTP (timedatectl set-ntp true; in a virtual machine, on its host too)';
  return off <= TOO_FAR
    ? { mark: 'warn', says: `${says}: from five minutes on, logins are refused. ${mend}` }
    : { mark: 'fail', says: `${says}: signed logins are refused as from the past or the future. ${mend}` };
}
