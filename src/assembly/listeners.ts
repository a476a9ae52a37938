/**
 * The SMTP listeners of the running gateway, and the rules that they ask. Rules change for the sessions that go on; a
 * listener that is changed or taken out gives its port up at once and keeps its sessions until they end by themselves.
 * Fails with a StartError for a certificate, and with an Error for a port, whose message says what to do.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { isSame } from '../config/changes.ts';
import type { Config, ListenerConfig } from '../config/config.ts';
import type { Report } from '../mail/event.ts';
import type { Inject } from '../mail/source.ts';
import type { CertificateSource } from '../smtp/certificate.ts';
import type { SmtpSource } from '../smtp/listener.ts';
import { smtpSource } from '../smtp/listener.ts';
import type { SmtpParts } from '../smtp/options.ts';
import type { Rules } from './front-door.ts';
import { certificateOf, followedGuard, listenerOptions, rulesOf } from './front-door.ts';
import { heldReport } from './held-report.ts';
import type { Follow, Step } from './step.ts';

export interface Listeners {
  /** Where clients connect, as it is now. */
  readonly open: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  /** Looks at once whether the files of certificates were replaced. */
  renew(): Promise<void>;
  stop(signal: AbortSignal): Promise<void>;
  readonly follow: Follow;
}

interface Door {
  readonly config: ListenerConfig;
  readonly basis: unknown;
  readonly source: SmtpSource;
  readonly certificate: CertificateSource | undefined;
  /** What its sessions ask. */
  readonly rules: { now: Rules };
}

/** Milliseconds for the sessions of a listener that was open for a moment only. */
const GRACE = 1_000;
/** Tries, and milliseconds between them, to have a port again that was given up a moment before. */
const TRIES = 5;
const PAUSE = 200;

export async function openListeners(
  config: Config,
  parts: { readonly inject: Inject; readonly report: Report },
): Promise<Listeners> {
  const listeners = new FollowingListeners(config, parts);
  const step = await listeners.follow(config);
  try {
    await step.take?.();
  } catch (error) {
    await step.back?.();
    throw error;
  }
  await step.settle?.();
  return listeners;
}

class FollowingListeners implements Listeners {
  readonly #parts: { readonly inject: Inject; readonly report: Report };
  readonly #guard = followedGuard(() => this.#last.config.logins);
  #last: { readonly config: Config; readonly rules: Rules };
  #doors: readonly Door[] = [];
  /** No longer open, with sessions that go on. */
  readonly #leaving = new Set<Door>();

  constructor(config: Config, parts: { readonly inject: Inject; readonly report: Report }) {
    this.#parts = parts;
    this.#last = { config, rules: rulesOf(config, this.#guard) };
  }

  get open(): Listeners['open'] {
    return this.#doors.map(({ config: { name, address }, source: { port } }) => ({ name, address, port }));
  }

  async renew(): Promise<void> {
    await Promise.all([...this.#doors, ...this.#leaving].map(({ certificate }) => certificate?.reload()));
  }

  async stop(signal: AbortSignal): Promise<void> {
    const all = [...this.#doors, ...this.#leaving];
    await Promise.all(all.map(({ source }) => source.stop(signal)));
    for (const { certificate } of all) certificate?.close();
  }

  readonly follow = async (next: Config): Promise<Step> => {
    const rules = rulesOf(next, this.#guard, this.#last);
    const held = heldReport(this.#parts.report);
    const fresh: Door[] = [];
    const doors: Door[] = [];
    try {
      for (const listener of next.listeners) {
        const basis = basisOf(listener, next);
        const there = this.#doors.find((door) => isSame(door.basis, basis));
        if (there === undefined) fresh.push(await this.#make(listener, basis, next, rules, held.report));
        const door = there ?? fresh.at(-1);
        if (door !== undefined) doors.push(door);
      }
    } catch (error) {
      for (const { certificate } of fresh) certificate?.close();
      throw error;
    }
    const going = this.#doors.filter((door) => !doors.includes(door));
    const taken: Door[] = [];
    const retired = new Map<Door, Promise<void>>();
    return {
      take: async () => {
        for (const door of going) retired.set(door, new Promise((over) => door.source.retire(over)));
        for (const door of fresh) {
          await door.source.start();
          taken.push(door);
        }
      },
      back: async () => {
        await Promise.all(taken.map(({ source }) => source.stop(AbortSignal.timeout(GRACE))));
        for (const { certificate } of fresh) certificate?.close();
        for (const door of retired.keys()) await this.#reopen(door);
      },
      settle: () => {
        held.release();
        this.#doors = doors;
        this.#last = { config: next, rules };
        for (const [door, over] of retired) this.#leave(door, over);
        const names = new Set(next.listeners.map(({ name }) => name));
        // Of a listener that is no longer there, the last rules that knew it.
        for (const door of [...doors, ...this.#leaving]) if (names.has(door.config.name)) door.rules.now = rules;
      },
    };
  };

  async #make(listener: ListenerConfig, basis: unknown, config: Config, now: Rules, report: Report): Promise<Door> {
    const certificate = await certificateOf(listener, config, report);
    const rules = { now };
    const source = smtpSource(listenerOptions(listener, certificate), asked(rules, this.#parts));
    return { config: listener, basis, source, certificate, rules };
  }

  #leave(door: Door, over: Promise<void>): void {
    this.#leaving.add(door);
    void over.then(() => {
      this.#leaving.delete(door);
      door.certificate?.close();
      return door.source.stop(AbortSignal.abort());
    });
  }

  async #reopen(door: Door): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await door.source.reopen();
      } catch (error) {
        if (tries < TRIES) await pause(PAUSE);
        else return this.#parts.report({ event: 'bug', where: 'listeners', error: error as Error });
      }
    }
  }
}

/** What makes it another listener. The rest are rules. */
function basisOf(
  { allow: _allow, loginFrom: _loginFrom, senders: _senders, recipients: _recipients, ...listener }: ListenerConfig,
  { hostname }: Config,
): unknown {
  return { ...listener, hostname };
}

/** Whoever asks gets the rules of the moment. */
function asked(rules: { readonly now: Rules }, fixed: Pick<SmtpParts, 'inject' | 'report'>): SmtpParts {
  return {
    ...fixed,
    get users() {
      return rules.now.users;
    },
    get hostname() {
      return rules.now.hostname;
    },
    get defaultFrom() {
      return rules.now.defaultFrom;
    },
    get policy() {
      return rules.now.policy;
    },
    get rate() {
      return rules.now.rate;
    },
    get senders() {
      return rules.now.senders;
    },
    get completeDomain() {
      return rules.now.completeDomain;
    },
    get headerOnly() {
      return rules.now.headerOnly;
    },
    get nullReversePath() {
      return rules.now.nullReversePath;
    },
    get logins() {
      return rules.now.logins;
    },
  };
}
