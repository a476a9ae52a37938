/** The address of a list of messages: the question, fields, and where to go on. Pure; never fails. */
import type { ListFilter } from '../mail/spool.ts';
import type { Fields } from './messages.ts';
import type { Understood } from './question.ts';
import { QUESTION_LIMIT, understandForm } from './question.ts';
import { isId } from './wire.ts';

const FIELDS = ['from', 'to', 'route', 'mailbox', 'after', 'before'] as const;

/** @param query `q`, fields by name, `state` any number of times, `page`: only older than this id */
export function askedFor(query: URLSearchParams, now: number): Understood {
  const states = query.getAll('state').filter((state) => state !== '');
  const given = FIELDS.map((name) => [name, query.get(name) ?? ''] as const);
  const understood = understandForm(questionIn(query), [...given, ['state', states.join(',')]], now);
  const page = query.get('page') ?? '';
  const after = isId(page) ? { after: page } : {};
  const filter: ListFilter = { ...understood.filter, ...after, newestFirst: true };
  return { ...understood, filter };
}

export function questionIn(query: URLSearchParams): string {
  return (query.get('q') ?? '').slice(0, QUESTION_LIMIT);
}

export function fieldsIn(query: URLSearchParams): Fields {
  const value = (name: (typeof FIELDS)[number]): string => (query.get(name) ?? '').slice(0, QUESTION_LIMIT);
  return {
    states: query.getAll('state'),
    from: value('from'),
    to: value('to'),
    route: value('route'),
    mailbox: value('mailbox'),
    after: value('after'),
    before: value('before'),
  };
}

/** The same list, going on after this id; undefined: from its beginning. */
export function listAddress(query: URLSearchParams, page?: string): string {
  const next = new URLSearchParams();
  const q = questionIn(query);
  if (q !== '') next.set('q', q);
  for (const state of query.getAll('state').slice(0, 6)) if (state !== '') next.append('state', state.slice(0, 20));
  for (const name of FIELDS) {
    const value = query.get(name) ?? '';
    if (value !== '') next.set(name, value.slice(0, QUESTION_LIMIT));
  }
  if (page !== undefined) next.set('page', page);
  const text = String(next);
  return text === '' ? '/messages' : `/messages?${text}`;
}
