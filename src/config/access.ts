/**
 * Who may connect to a listener and what follows from it: no open relay, no login that nobody can or need do, no trust
 * in strangers. Looks at what could be read; never fails.
 */
import type { Path } from './fault.ts';
import { covers, isMostlyPublic } from './network.ts';
import type { Context, SoundListener, SoundSettings } from './sound.ts';

export function checkAccess(settings: SoundSettings, context: Context): void {
  settings.listeners?.forEach((listener, index) => {
    if (listener === undefined) return;
    const path = ['listeners', index];
    checkRelay(listener, path, settings, context);
    checkLoginFrom(listener, path, context);
    checkLfEndOfData(listener, path, context);
    checkBalancers(listener, path, context);
  });
}

/** Strangers who may send, without login, to anyone. */
function checkRelay(listener: SoundListener, path: Path, settings: SoundSettings, context: Context): void {
  const { allow, auth, recipients } = listener;
  if (auth === undefined || auth === 'required') return;
  if (recipients === undefined && context.wasGiven([...path, 'recipients'])) return;
  if (!reachesAnyone(settings.recipients?.allow) || (recipients !== undefined && !reachesAnyone(recipients))) return;
  allow?.forEach((network, index) => {
    if (network === undefined || !isMostlyPublic(network)) return;
    context.fault(
      [...path, 'allow', index],
      'would make an open relay: whoever is in this network of mostly public addresses could send, without login, to anyone',
      'name your own networks only, set auth: required, move it to loginFrom with auth: optional, or limit recipients to your own domains',
    );
  });
}

/** Top-level domains without hosts on the Internet (RFC 2606, RFC 6761, RFC 6762 with its appendix G). */
const INSIDE = new Set([
  'corp',
  'home',
  'internal',
  'intranet',
  'lan',
  'local',
  'localdomain',
  'localhost',
  'private',
  'test',
]);

/** Whether one of the patterns has addresses in domains of any owner: `*`, `fax@*`, `*@*.com`. */
function reachesAnyone(patterns: readonly (string | undefined)[] | undefined): boolean {
  return (patterns ?? []).some((pattern) => {
    if (pattern === undefined) return false;
    const domain = pattern
      .slice(pattern.lastIndexOf('@') + 1)
      .toLowerCase()
      .replace(/\.$/, '');
    const labels = domain.slice(domain.lastIndexOf('*') + 1).split('.');
    // What is left of the last asterisk is any text: only whole labels behind it narrow the domain down.
    const fixed = labels.slice(1);
    return domain.includes('*') && (fixed.length === 0 || (fixed.length === 1 && !INSIDE.has(fixed[0] ?? '')));
  });
}

function checkLoginFrom(listener: SoundListener, path: Path, { fault }: Context): void {
  const { allow = [], auth, loginFrom = [] } = listener;
  if (auth === 'none' && loginFrom.length > 0) {
    fault(
      [...path, 'loginFrom'],
      'is given, but auth is none: nobody could log in',
      'set auth: optional, or name the networks in allow if their clients need no login',
    );
  }
  if (auth !== 'optional') return;
  loginFrom.forEach((network, index) => {
    const free = network === undefined ? -1 : allow.findIndex((one) => one !== undefined && covers(one, network));
    if (free >= 0) {
      fault(
        [...path, 'loginFrom', index],
        `is part of allow[${free}], whose clients need no login`,
        'remove it, or make allow narrower',
      );
    }
  });
}

/** Whoever sees messages end at LF.LF can be made to see one in the midst of another: no strangers then. */
function checkLfEndOfData(listener: SoundListener, path: Path, { fault }: Context): void {
  if (listener.lfEndOfData !== true) return;
  const reason = (() => {
    if (listener.lenient === false) return ['lenient is false', 'set lenient: true'] as const;
    if (listener.auth === 'required') {
      return ['auth is required', 'give such devices a listener with auth: none and their addresses in allow'] as const;
    }
    if ((listener.loginFrom?.length ?? 0) > 0) {
      return ['loginFrom lets others connect', 'give such devices a listener without it'] as const;
    }
    if (listener.allow?.some((network) => network !== undefined && isMostlyPublic(network)) === true) {
      return ['allow has a network of mostly public addresses', 'name the addresses of such devices'] as const;
    }
    return undefined;
  })();
  if (reason === undefined) return;
  const [why, what] = reason;
  fault([...path, 'lfEndOfData'], `is true, but ${why}: it is for devices that are known by their address`, what);
}

function checkBalancers({ proxyProtocol }: SoundListener, path: Path, { fault }: Context): void {
  proxyProtocol?.forEach((network, index) => {
    if (network === undefined || !isMostlyPublic(network)) return;
    fault(
      [...path, 'proxyProtocol', index],
      'has mostly public addresses: anyone there could claim to be any client',
      'name the addresses of your load balancers',
    );
  });
}
