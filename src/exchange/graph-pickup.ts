/**
 * What every request of a pickup over Graph has in common: whose mailbox, ids that change with the folder, what answers
 * mean. One attempt each, trouble is a value, as graph-call.ts has it.
 *
 * Ids are not the immutable ones: those would let an item be read, moved or deleted that somebody has moved to another
 * folder meanwhile, and a deletion asked for twice would take it out of the deleted items as well. So an item that has
 * left its folder is gone, as over EWS.
 */
import type { HttpResponse } from './http.ts';
import type { Delayed, Failed, TraceIds } from '../mail/status.ts';
import { MISCONFIGURED } from '../mail/status.ts';
import { askGraph, isOfGraph, streamFromGraph } from './graph-call.ts';
import type { GraphFailure, GraphOptions, GraphRequest } from './graph-call.ts';
import { GONE, meaningOfPickup } from './graph-codes.ts';

export interface GraphMailboxOptions {
  readonly graph: GraphOptions;
  /** Address of the mailbox, or its sign-in name. */
  readonly mailbox: string;
}

/** Of a list that is read whole; a mailbox of ten thousand folders still fits. */
const MAX_PAGES = 100;

export type Question = Omit<GraphRequest, 'sends' | 'mailbox' | 'means'>;
export type Trouble = GraphFailure<Delayed | Failed>;

export async function askMailbox(
  { graph, mailbox }: GraphMailboxOptions,
  question: Question,
): Promise<{ readonly ok: true; readonly json: unknown } | Trouble> {
  return await askGraph(graph, { prefer: [], ...question, mailbox, means: meaningOfPickup });
}

export async function streamFromMailbox(
  { graph, mailbox }: GraphMailboxOptions,
  question: Question,
): Promise<{ readonly ok: true; readonly response: HttpResponse; readonly ids: TraceIds } | Trouble> {
  return await streamFromGraph(graph, { prefer: [], ...question, mailbox, means: meaningOfPickup });
}

/** Whether the item or the folder of the request is what does not exist: 404 is also the word for a mailbox, or no Graph. */
export function isGone({ http, status }: Trouble): boolean {
  return http === 404 && GONE.includes(status.cause);
}

export interface Page {
  readonly items: readonly Readonly<Record<string, unknown>>[];
  /** Where the next page is. */
  readonly next?: string;
  /** Where the next round begins, after the last page. */
  readonly delta?: string;
}

/** @returns undefined: that is none */
export function pageOf(json: unknown): Page | undefined {
  const {
    value,
    '@odata.nextLink': next,
    '@odata.deltaLink': delta,
  } = json as { readonly value?: unknown; readonly '@odata.nextLink'?: unknown; readonly '@odata.deltaLink'?: unknown };
  if (!Array.isArray(value)) return undefined;
  return {
    items: value.filter((one): one is Record<string, unknown> => typeof one === 'object' && one !== null),
    ...(typeof next === 'string' ? { next } : {}),
    ...(typeof delta === 'string' ? { delta } : {}),
  };
}

/** All pages of a list. */
export async function listAll(
  source: GraphMailboxOptions,
  path: string,
  signal: AbortSignal,
): Promise<{ readonly ok: true; readonly items: Page['items'] } | Trouble> {
  const items: Page['items'][number][] = [];
  let at = path;
  for (let count = 0; count < MAX_PAGES; count++) {
    const asked = await askMailbox(source, { method: 'GET', path: at, success: 200, signal });
    if (!asked.ok) return asked;
    const page = pageOf(asked.json);
    if (page === undefined) return { ok: false, status: unreadable('a list') };
    items.push(...page.items);
    if (page.next === undefined) break;
    if (!isOfGraph(source.graph, page.next)) return { ok: false, status: elsewhere() };
    at = page.next;
  }
  return { ok: true, items };
}

export function unreadable(what: string): Delayed {
  return unusable('unreadable answer', `Graph reported success, but ${what} could not be read from its answer`);
}

/** A success that is none. */
export function unusable(cause: string, reason: string, ids?: TraceIds): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    capped: true,
    cause,
    text: 'The mail server gave an unexpected answer',
    reason,
    ...(ids === undefined ? {} : { ids }),
  };
}

/** A token goes to the configured address only, whatever an answer says. */
export function elsewhere(): Delayed {
  return {
    outcome: 'delayed',
    code: MISCONFIGURED,
    reach: 'transport',
    cause: 'link elsewhere',
    text: 'The mail gateway cannot read the mailbox at the moment; its operator has been told',
    reason:
      'Graph gives the next page at an address that does not begin with graphUrl, and the token is not sent there. Check graphUrl: it has to be the address that Graph itself uses, or a proxy has to change it in the answers as well',
  };
}

export function folderNotFound(reason: string): Failed {
  return {
    outcome: 'failed',
    code: '5.2.0',
    cause: 'folder not found',
    text: 'A folder of the mailbox does not exist',
    reason,
  };
}
