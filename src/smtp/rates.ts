/** Messages a minute, by the user who logged in or else by client address. Pure but for its memory; never fails. */
import { networkList } from '../mail/network.ts';
import type { Client, Reply } from '../mail/policy.ts';
import { rateLimit } from './limits.ts';
import type { RateLimit } from './limits.ts';

/** perMinute: Infinity if unlimited. */
export interface RateRules {
  readonly users: readonly { readonly name: string; readonly perMinute: number }[];
  /** The first entry whose networks hold the client applies, each address for itself. */
  readonly clients: readonly { readonly networks: readonly string[]; readonly perMinute: number }[];
}

/** Counts one message. @returns the refusal, if it is one too many */
export function clientRates(rules: RateRules, now?: () => number): (client: Client) => Reply | undefined {
  const users = new Map(rules.users.map(({ name, perMinute }) => [name, limit(perMinute, now)]));
  const clients = rules.clients.map(({ networks, perMinute }) => ({
    holds: networkList(networks),
    ...limit(perMinute, now),
  }));
  return ({ user, peer }) => {
    const own = user === undefined ? undefined : users.get(user);
    if (user !== undefined && own !== undefined) return own.rate.take(user) ? undefined : tooMany(`User ${user}`, own);
    const network = clients.find(({ holds }) => holds(peer));
    return network === undefined || network.rate.take(peer) ? undefined : tooMany(peer, network);
  };
}

interface Limit {
  readonly perMinute: number;
  readonly rate: RateLimit;
}

function limit(perMinute: number, now?: () => number): Limit {
  return { perMinute, rate: rateLimit(perMinute, now) };
}

function tooMany(who: string, { perMinute }: Limit): Reply {
  const text = `${who} may send ${perMinute} messages a minute (perMinute): try again later`;
  return { refusal: 'rate', code: 450, enhanced: '4.7.1', text };
}
