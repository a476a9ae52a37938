/**
 * What goes over the control door, as both its ends read it: a filter as a query, an order as JSON. Reading is strict:
 * what is not understood is a sentence, never a guess, because an order of a newer command must not do something else.
 * Pure; never throws.
 */
import { isSendable } from '../mail/address.ts';
import type { ItemState } from '../mail/item.ts';
import { ITEM_STATES } from '../mail/item.ts';
import type { ListFilter, SpoolTrouble } from '../mail/spool.ts';
import type { ActOrder } from './operations.ts';
import { ACTS } from './operations.ts';

/** Items of one answer, ids of one order. */
export const PAGE = 500;
/** Characters of a text. */
const TEXT_LIMIT = 1_000;
const USER_LIMIT = 64;
/** Spool ids of this and coming versions. */
const ID = /^[\w-]{1,64}$/;

/** What the door says of itself. */
export interface Greeting {
  readonly program: 'smtp2exchange';
  readonly version: string;
  /** What it works on: the file of its spool, or the URL of its database without the password. */
  readonly spool: string;
  /** What it listens on. Absent: its version does not say. */
  readonly listening?: readonly { readonly address: string; readonly port: number }[];
}

/** The body of every answer that is no success. */
export interface Refusal {
  readonly error: string;
  /** The store is in trouble. */
  readonly trouble?: SpoolTrouble;
}

export type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

const bad = (problem: string): Read<never> => ({ ok: false, problem });

export function isId(text: string): boolean {
  return ID.test(text);
}

const TEXTS = ['route', 'mailbox', 'sender', 'recipient', 'messageId'] as const;
const NUMBERS = ['arrivedFrom', 'arrivedBefore', 'limit'] as const;

export function queryOf(filter: ListFilter): URLSearchParams {
  const query = new URLSearchParams();
  for (const state of filter.states ?? []) query.append('state', state);
  for (const id of filter.ids ?? []) query.append('id', id);
  for (const name of [...TEXTS, ...NUMBERS, 'after'] as const) {
    const value = filter[name];
    if (value !== undefined) query.set(name, String(value));
  }
  return query;
}

export function filterIn(query: URLSearchParams): Read<ListFilter> {
  const filter: { -readonly [Key in keyof ListFilter]: ListFilter[Key] } = {};
  const states: ItemState[] = [];
  const ids: string[] = [];
  for (const [name, value] of query) {
    if (value.length > TEXT_LIMIT) return bad(`${name} is too long`);
    if (name === 'state') {
      const state = ITEM_STATES.find((one) => one === value);
      if (state === undefined) return bad('state is not known');
      states.push(state);
    } else if (name === 'id' || name === 'after') {
      if (!isId(value)) return bad(`${name} is no id`);
      if (name === 'after') filter.after = value;
      else ids.push(value);
    } else if (isOneOf(NUMBERS, name)) {
      if (!/^\d{1,15}$/.test(value)) return bad(`${name} is no number`);
      filter[name] = Number(value);
    } else if (isOneOf(TEXTS, name)) {
      filter[name] = value;
    } else {
      return bad('the filter is not known: the gateway may be of an older version');
    }
  }
  if (ids.length > PAGE) return bad(`more than ${PAGE} ids`);
  if (states.length > 0) filter.states = states;
  if (ids.length > 0) filter.ids = ids;
  filter.limit = Math.min(filter.limit ?? PAGE, PAGE);
  return { ok: true, value: filter };
}

/** @param routes those there are */
export function orderIn(body: unknown, routes: readonly string[]): Read<ActOrder> {
  if (typeof body !== 'object' || body === null) return bad('an order is an object');
  const given = body as Readonly<Record<keyof ActOrder, unknown>>;
  const act = ACTS.find((one) => one === given.act);
  if (act === undefined) return bad('the act is not known: the gateway may be of an older version');
  const { ids, stays = false } = given;
  if (!Array.isArray(ids) || !ids.every((id): id is string => typeof id === 'string' && isId(id)))
    return bad('ids are to be a list of ids');
  if (ids.length > PAGE) return bad(`more than ${PAGE} ids`);
  if (typeof stays !== 'boolean') return bad('stays is to be true or false');
  const by = userName(given.by);
  if (act !== 'move') return { ok: true, value: { act, ids, by } };
  const to = destinationIn(given.to, routes);
  return to.ok ? { ok: true, value: { act, ids, by, to: to.value, stays } } : to;
}

function destinationIn(given: unknown, routes: readonly string[]): Read<NonNullable<ActOrder['to']>> {
  const { route, mailbox } = (typeof given === 'object' && given !== null ? given : {}) as Record<string, unknown>;
  if (route === undefined && mailbox === undefined) return bad('a move needs a mailbox or a route to move to');
  if (route !== undefined && !routes.some((one) => one === route))
    return bad(`there is no such route; those there are: ${routes.join(', ')}`);
  if (mailbox !== undefined && (typeof mailbox !== 'string' || !isSendable(mailbox)))
    return bad('the mailbox is no e-mail address');
  return {
    ok: true,
    value: {
      ...(typeof route === 'string' ? { route } : {}),
      ...(typeof mailbox === 'string' ? { mailbox: mailbox.toLowerCase() } : {}),
    },
  };
}

/** For the log and the history: one short line. */
export function userName(given: unknown): string {
  const name = typeof given === 'string' ? given.replace(/[\p{C}\p{Z}]+/gu, ' ').trim() : '';
  return name === '' ? 'somebody' : name.slice(0, USER_LIMIT);
}

function isOneOf<T extends string>(names: readonly T[], name: string): name is T {
  return names.some((one) => one === name);
}
