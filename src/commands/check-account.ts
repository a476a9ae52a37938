/**
 * An account of the configuration by one way into Exchange, as `check` looks at it: its connections, its login, what its
 * token says, and single looks into mailboxes. Opened before anything is asked; each look is one attempt, and what goes
 * wrong is a value.
 */
import { httpOptions } from '../assembly/http-options.ts';
import type { Login } from '../assembly/login.ts';
import { loginAt } from '../assembly/login.ts';
import { waysOf } from '../assembly/way-out.ts';
import type { Config, RouteConfig } from '../config/config.ts';
import type { EwsClient, SearchedFolder } from '../exchange/ews.ts';
import { createEws } from '../exchange/ews.ts';
import type { GraphOptions } from '../exchange/graph-call.ts';
import type { HttpWithLanes } from '../exchange/http.ts';
import { createHttp } from '../exchange/http.ts';
import type { PickupMailbox } from '../exchange/mailbox.ts';
import type { Token, TokenFailure } from '../exchange/token.ts';
import type { Delayed, Failed } from '../mail/status.ts';
import type { Finding } from './finding.ts';
import { PATIENCE } from './finding.ts';
import { version } from './version.ts';

export type Way = 'ews' | 'graph' | 'smtp';

export type Looked =
  { readonly ok: true; readonly found: boolean } | { readonly ok: false; readonly status: Delayed | Failed };

/** What a token says of the application. */
export interface Claims {
  readonly aud?: string;
  readonly tid?: string;
  readonly appid?: string;
  readonly roles: readonly string[];
}

export class Account {
  /** Of the file. */
  readonly route: RouteConfig;
  /** As a route that takes this way only. */
  readonly taken: RouteConfig;
  readonly way: Way;
  readonly sends: boolean;
  readonly http: HttpWithLanes;
  /** It is there for when the other way is closed, or was before a change-over. */
  isSpare = false;
  /** Of the two ways of what chooses by itself, this one is in use. */
  isChosen = true;
  /** Why nothing further can be tried by it. */
  blocked: string | undefined;
  claims: Claims | undefined;
  /** A mailbox was looked into, or mail handed over. */
  hasReached = false;
  readonly #undo: (() => Promise<void>)[] = [];
  readonly #stop: AbortSignal;
  readonly #looks = new Map<string, Promise<Looked>>();
  #login: Login | undefined;
  #fault: string | undefined;
  #ews: Promise<EwsClient> | undefined;

  constructor(route: RouteConfig, taken: RouteConfig, way: Way, sends: boolean, stop: AbortSignal) {
    this.route = route;
    this.taken = taken;
    this.way = way;
    this.sends = sends;
    this.#stop = stop;
    const { exchange } = route;
    this.http = createHttp(httpOptions(exchange));
    this.#undo.push(() => this.http.close());
    const { smtp } = exchange;
    if (way === 'smtp' && smtp?.login.kind !== 'oauth') return;
    const scope = way === 'graph' ? exchange.graphScope : exchange.scope;
    const around = { http: this.http, version: version(), report: () => undefined, undo: this.#undo };
    try {
      this.#login = loginAt({ account: taken.name, exchange, scope, ...around });
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
    }
  }

  get isOnPremises(): boolean {
    return this.route.exchange.cloud === 'onPremises';
  }

  /** It asks an authority for tokens, or the machine it runs on. */
  get needsToken(): boolean {
    return this.#fault !== undefined || this.#login?.token !== undefined;
  }

  /** Where the token has to be for. */
  get audience(): string {
    const { scope, graphScope } = this.route.exchange;
    return (this.way === 'graph' ? graphScope : scope).replace(/\/\.default$/, '');
  }

  /** Address of the server; with SMTP, without a path. */
  get server(): URL {
    const { ewsUrl, graphUrl, smtp } = this.route.exchange;
    if (this.way === 'smtp') return new URL(`smtp://${bracketed(smtp?.host ?? '')}:${smtp?.port ?? 0}`);
    return new URL(this.way === 'ews' ? ewsUrl : graphUrl);
  }

  /** How the app is let in, as far as its token shows. */
  get path(): 'rbac' | 'consent' {
    return (this.claims?.roles.length ?? 0) === 0 ? 'rbac' : 'consent';
  }

  about(what: Finding['what']): Pick<Finding, 'what' | 'route' | 'transport'> {
    return { what, route: this.route.name, transport: this.way };
  }

  async token(): Promise<Token | TokenFailure | undefined> {
    if (this.#fault === undefined) return await this.#login?.token?.get(this.#patience());
    return { ok: false, cause: 'credential', misconfigured: true, advice: this.#fault };
  }

  /** Into Sent Items of a mailbox that sends, for nothing; once for each. */
  look(mailbox: string): Promise<Looked> {
    const known = this.#looks.get(mailbox);
    if (known !== undefined) return known;
    const looked = this.find(mailbox, 'sentitems', NO_MESSAGE);
    this.#looks.set(mailbox, looked);
    return looked;
  }

  /** Not with SMTP. @param messageId with its angle brackets @param id of the item, which is a mark in what Graph sends */
  async find(mailbox: string, folder: SearchedFolder, messageId: string, id = 'check'): Promise<Looked> {
    const signal = this.#patience();
    const looked = await (this.way === 'graph'
      ? this.#findByGraph({ id, mailbox, messageId }, folder, signal)
      : this.#findByEws(mailbox, folder, messageId, signal));
    if (looked.ok) this.hasReached = true;
    return looked;
  }

  async #findByEws(mailbox: string, folder: SearchedFolder, messageId: string, signal: AbortSignal): Promise<Looked> {
    const found = await (await this.#ewsClient()).find({ mailbox, folder, messageId, offset: 0 }, signal);
    return found.ok ? { ok: true, found: found.marks.length > 0 } : found;
  }

  async #findByGraph(
    item: { readonly id: string; readonly mailbox: string; readonly messageId: string },
    folder: SearchedFolder,
    signal: AbortSignal,
  ): Promise<Looked> {
    const { findInFolder } = await import('../exchange/graph-find.ts');
    const found = await findInFolder(this.#graph(), item, folder, signal);
    return found.ok ? { ok: true, found: found.isUnmarked || found.ours.length > 0 } : found;
  }

  /** As a pickup reads it. Not with SMTP. */
  async box(mailbox: string): Promise<PickupMailbox> {
    if (this.way === 'graph') {
      const { graphMailbox } = await import('../exchange/mailbox-graph.ts');
      return graphMailbox({ graph: this.#graph(), mailbox });
    }
    const { ewsMailbox } = await import('../exchange/mailbox-ews.ts');
    return ewsMailbox({ ews: await this.#ewsClient(), mailbox });
  }

  /** Finds folders by their paths; makes none. */
  async folders(mailbox: string, paths: readonly string[]): ReturnType<PickupMailbox['folders']> {
    const found = await (await this.box(mailbox)).folders(paths, [], this.#patience());
    if (found.ok) this.hasReached = true;
    return found;
  }

  async close(): Promise<void> {
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) await step();
  }

  #patience(): AbortSignal {
    return AbortSignal.any([this.#stop, AbortSignal.timeout(PATIENCE)]);
  }

  #authorizer(): Login['authorizer'] {
    if (this.#login === undefined) throw new Error('a mailbox was asked for without a login');
    return this.#login.authorizer;
  }

  async #ewsClient(): Promise<EwsClient> {
    const { ewsUrl: url, clientId } = this.route.exchange;
    this.#ews ??= createEws({ url, authorizer: this.#authorizer(), version: version(), clientId });
    return await this.#ews;
  }

  #graph(): GraphOptions {
    const { graphUrl: url, clientId } = this.route.exchange;
    return { http: this.http, authorizer: this.#authorizer(), url, version: version(), clientId };
  }
}

/** Of no message: what is looked for is not there. */
const NO_MESSAGE = '<probe@smtp2exchange.invalid>';

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** Each account by each way that mail is sent or read. */
export function openAccounts({ routes, pickups }: Config, stop: AbortSignal): readonly Account[] {
  return routes.flatMap((route) => {
    const sending = waysOf(route);
    const accounts = sending.map((taken) => new Account(route, taken, wayOf(taken), true, stop));
    const reads = pickups.filter((pickup) => pickup.route === route.name).flatMap((one) => readingWays(one.transport));
    for (const way of new Set(reads)) {
      if (accounts.some((account) => account.way === way)) continue;
      const taken = { ...route, exchange: { ...route.exchange, transport: way } };
      accounts.push(new Account(route, taken, way, false, stop));
    }
    return accounts;
  });
}

function wayOf({ exchange: { transport } }: RouteConfig): Way {
  if (transport === 'auto') throw new Error('a route that takes one way takes several');
  return transport;
}

/** `auto` means both. */
export function readingWays(transport: 'ews' | 'graph' | 'auto'): readonly ('ews' | 'graph')[] {
  return transport === 'auto' ? ['ews', 'graph'] : [transport];
}
