/**
 * The JSON of the console (docs/console.md): the same as its pages, for programs. What is asked wrongly is a sentence in
 * `error`; trouble with the store passes through as a SpoolError.
 */
import type { HistoryEntry, QueueItem } from '../mail/item.ts';
import type { Answer, Asked } from './answer.ts';
import { json } from './answer.ts';
import type { Look } from './look.ts';
import { lookJson, utc } from './look.ts';
import { askedFor } from './message-query.ts';
import type { Operations, Story } from './operations.ts';
import { PAGE, isId, orderIn } from './wire.ts';

export interface ApiParts {
  readonly operations: Operations;
  readonly look: () => Promise<Look>;
  /** Where mail can be moved to. */
  readonly routes: readonly string[];
  readonly version: string;
  readonly gateway: string;
  readonly now: () => number;
}

const USUAL = 100;

export function refusal(status: number, error: string, headers: Answer['headers'] = {}): Answer {
  return json({ error }, status, headers);
}

/** @param user who asks, for history and log */
export async function api(asked: Asked, user: string, parts: ApiParts): Promise<Answer> {
  const { method, path, query } = asked;
  const isRead = method === 'GET' || method === 'HEAD';
  const { operations, routes } = parts;
  const [, id] = /^\/api\/messages\/([\w-]{1,64})$/.exec(path) ?? [];
  if (path === '/api/acts') {
    if (method !== 'POST') return refusal(405, 'only POST', { allow: 'POST' });
    return await act(asked, user, operations, routes);
  }
  if (path !== '/api/state' && path !== '/api/messages' && id === undefined)
    return refusal(404, 'there is no such thing');
  if (!isRead) return refusal(405, 'only GET and HEAD', { allow: 'GET, HEAD' });
  if (path === '/api/state') return json(lookJson(await parts.look(), parts.version, parts.gateway));
  if (path === '/api/messages') return await list(query, parts);
  const story = id === undefined || !isId(id) ? undefined : await operations.show(id);
  return story === undefined ? refusal(404, 'there is no such message') : json(storyJson(story));
}

async function list(query: URLSearchParams, { operations, now }: ApiParts): Promise<Answer> {
  const wanted = query.get('limit') ?? String(USUAL);
  if (!/^\d{1,6}$/.test(wanted)) return refusal(400, 'limit is no number');
  const limit = Math.min(Math.max(1, Number(wanted)), PAGE);
  const { filter, words, problems } = askedFor(query, now());
  if (problems.length > 0) return refusal(400, problems.join('. '));
  const items = await operations.list({ ...filter, limit: limit + 1 });
  const page = items.slice(0, limit);
  const last = page.at(-1);
  return json({
    understood: words,
    messages: page.map(itemJson),
    ...(items.length > limit && last !== undefined ? { next: last.id } : {}),
  });
}

async function act(asked: Asked, user: string, operations: Operations, routes: readonly string[]): Promise<Answer> {
  if (!/^application\/json\b/i.test(asked.headers['content-type'] ?? ''))
    return refusal(415, 'the body has to be application/json');
  const body = await asked.body();
  if (body === undefined) return refusal(413, 'the body is too long');
  let given: unknown;
  try {
    given = JSON.parse(body);
  } catch {
    return refusal(400, 'the body is no JSON');
  }
  const order = orderIn(given, routes);
  if (!order.ok) return refusal(400, order.problem);
  const { ids } = order.value;
  const outcomes = await operations.act({ ...order.value, by: user });
  return json({ outcomes: Object.fromEntries(ids.map((one, at) => [one, outcomes[at]])) });
}

/** Times are ISO 8601 in UTC, as in the log. */
export function itemJson(item: QueueItem): object {
  const { envelope, arrivedAt, due, headerSize: _, ...rest } = item;
  return {
    ...rest,
    arrivedAt: utc(arrivedAt),
    due: utc(due),
    sender: envelope.reversePath,
    recipients: envelope.recipients.map(({ address }) => address),
  };
}

function storyJson({ item, history, header }: Story): object {
  return {
    ...itemJson(item),
    envelope: item.envelope,
    ...(header === undefined ? {} : { header }),
    history: history.map(({ at, ...rest }: HistoryEntry) => ({ at: utc(at), ...rest })),
  };
}
