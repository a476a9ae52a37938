/**
 * What one client may do: failed logins, messages a minute, connections at a time. Kept in memory only, and only so much
 * of it: of too many clients, those heard of least recently are forgotten. Never fails.
 */
import { isIPv6 } from 'node:net';

/** Clients remembered by one guard or limit. */
const MOST_CLIENTS = 10_000;
/** A provider gives each customer 2^64 addresses: a network may fail this many times what one address may. */
const NETWORK_FACTOR = 10;

export interface LoginRules {
  /** Failed logins `within` which lead to a ban. At least 1. */
  readonly failures: number;
  /** Milliseconds. */
  readonly within: number;
  /** Milliseconds a ban lasts. */
  readonly ban: number;
  /** Milliseconds by which the answer to a failed login is held back. */
  readonly delay: number;
}

export interface LoginFailure {
  /** Milliseconds to wait before the answer. */
  readonly delay: number;
  /** Failed logins within the time that counts. */
  readonly failures: number;
  /** Epoch milliseconds; given by the one failure that begins a ban. */
  readonly bannedUntil?: number;
}

/** By client address; of IPv6 also by its /64 network. */
export interface LoginGuard {
  /** Until when, epoch milliseconds; undefined: not banned. */
  banned(peer: string): number | undefined;
  failed(peer: string): LoginFailure;
  /**
   * Takes one failure back: behind one address a program that logs in often must not suffer for a device with an old
   * password. Ends no ban.
   */
  succeeded(peer: string): void;
}

interface Failures {
  /** Epoch milliseconds, oldest first. */
  times: number[];
  bannedUntil: number;
}

export function loginGuard(rules: LoginRules, now: () => number = Date.now): LoginGuard {
  const clients = new Recent<Failures>(MOST_CLIENTS);
  const fail = (key: string, limit: number): { failures: number; bannedUntil?: number } => {
    const time = now();
    const client = clients.get(key) ?? { times: [], bannedUntil: 0 };
    // Math.abs: what lies ahead was counted before the clock was set back.
    client.times = [...client.times.filter((at) => Math.abs(time - at) < rules.within), time];
    clients.set(key, client);
    const failures = client.times.length;
    if (failures < limit) return { failures };
    // After the ban the count begins anew.
    client.times = [];
    const isNew = client.bannedUntil <= time;
    client.bannedUntil = time + rules.ban;
    return isNew ? { failures, bannedUntil: client.bannedUntil } : { failures };
  };
  return {
    banned(peer) {
      const until = Math.max(...keys(peer).map(([key]) => clients.get(key)?.bannedUntil ?? 0));
      const left = until - now();
      // One that seems to last longer than any ban was given before the clock was set back.
      return left > 0 && left <= rules.ban ? until : undefined;
    },
    failed(peer) {
      const results = keys(peer).map(([key, factor]) => fail(key, rules.failures * factor));
      const ban = results.find(({ bannedUntil }) => bannedUntil !== undefined);
      return { delay: rules.delay, ...(ban ?? results[0] ?? { failures: 1 }) };
    },
    succeeded(peer) {
      for (const [key] of keys(peer)) clients.get(key)?.times.shift();
    },
  };
}

/** What failures are counted by, and how many times the usual number each may reach. */
function keys(peer: string): readonly (readonly [key: string, factor: number])[] {
  const address: readonly [string, number] = [peer, 1];
  return isIPv6(peer) ? [address, [network64(peer), NETWORK_FACTOR]] : [address];
}

function network64(address: string): string {
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  // An IPv4 part (::ffff:192.0.2.1) stands for two groups.
  const groups = right.length + (right.at(-1)?.includes('.') === true ? 1 : 0);
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - groups);
  const all = [...left, ...Array.from({ length: zeros }, () => '0'), ...right];
  return `${all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

export interface RateLimit {
  /** Whether one more may pass now; if so it counts. */
  take(key: string): boolean;
}

/**
 * A token bucket for each key: `perMinute` at once, and as many a minute from then on.
 * @param perMinute Infinity: no limit
 */
export function rateLimit(perMinute: number, now: () => number = Date.now): RateLimit {
  const buckets = new Recent<{ tokens: number; at: number }>(MOST_CLIENTS);
  if (perMinute === Infinity) return { take: () => true };
  return {
    take(key) {
      const time = now();
      const { tokens, at } = buckets.get(key) ?? { tokens: perMinute, at: time };
      // A clock that was set back gives nothing, and takes nothing.
      const filled = Math.min(perMinute, tokens + (Math.max(0, time - at) / 60_000) * perMinute);
      // A sixtieth part of a second's rounding must not cost a message.
      const isFree = filled >= 1 - 1e-9;
      buckets.set(key, { tokens: isFree ? Math.max(0, filled - 1) : filled, at: time });
      return isFree;
    },
  };
}

export interface ConnectionCount {
  /** @returns how many there are with this one */
  add(peer: string): number;
  remove(peer: string): void;
  of(peer: string): number;
}

/** Holds only addresses that are connected: bounded by the connections themselves. */
export function connectionCount(): ConnectionCount {
  const open = new Map<string, number>();
  const of = (peer: string): number => open.get(peer) ?? 0;
  return {
    of,
    add(peer) {
      open.set(peer, of(peer) + 1);
      return of(peer);
    },
    remove(peer) {
      if (of(peer) > 1) open.set(peer, of(peer) - 1);
      else open.delete(peer);
    },
  };
}

/** A map that forgets what was set least recently. */
class Recent<V> {
  readonly #entries = new Map<string, V>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#limit) return;
    for (const [oldest] of this.#entries) {
      this.#entries.delete(oldest);
      return;
    }
  }
}
