/** Orders of the pages: asked about, carried out, and said what became of them. Trouble with the store passes through. */
import type { Answer } from './answer.ts';
import { seeOther } from './answer.ts';
import { confirmPage, nothingChosen, outcomeLine } from './act-page.ts';
import { ownPath } from './gate.ts';
import { ACT_WORDS } from './item-words.ts';
import type { Markup } from './markup.ts';
import { mboxOf } from './mbox.ts';
import type { MboxEntry } from './mbox.ts';
import type { Act, Operations } from './operations.ts';
import { ACTS } from './operations.ts';
import type { Session } from './sessions.ts';
import { isId, orderIn } from './wire.ts';

export interface ActParts {
  readonly operations: Operations;
  readonly routes: readonly string[];
}

/** Messages of one order: twice what a page shows. */
const MOST = 100;
const LIST = '/messages';

function chosen(fields: URLSearchParams): readonly string[] {
  return [...new Set(fields.getAll('id').filter(isId))].slice(0, MOST);
}

function actIn(fields: URLSearchParams): Act | 'export' | undefined {
  const given = fields.get('act');
  return given === 'export' ? given : ACTS.find((act) => act === given);
}

export async function actAsked(
  query: URLSearchParams,
  { formToken }: Session,
  { operations, routes }: ActParts,
): Promise<{ readonly title: string; readonly content: Markup }> {
  const back = ownPath(query.get('back'), LIST);
  const act = actIn(query);
  const ids = chosen(query);
  const items =
    act === undefined || ids.length === 0 ? [] : await operations.list({ ids, newestFirst: true, limit: MOST });
  if (act === undefined || items.length === 0) return { title: 'Nothing chosen', content: nothingChosen(back) };
  return {
    title: act === 'export' ? 'Export' : ACT_WORDS[act].button,
    content: confirmPage({ act, items, back, formToken, routes }),
  };
}

export async function actPosted(
  form: URLSearchParams,
  session: Session,
  { operations, routes }: ActParts,
): Promise<Answer> {
  const back = ownPath(form.get('back'), LIST);
  const act = actIn(form);
  const ids = chosen(form);
  if (act === undefined || ids.length === 0) {
    session.flash = { kind: 'failed', text: 'Nothing was done: no message was chosen.' };
    return seeOther(back);
  }
  if (act === 'export') return exported(ids, session.user, operations);
  const route = form.get('route') ?? '';
  const mailbox = (form.get('mailbox') ?? '').trim();
  const to = { ...(route === '' ? {} : { route }), ...(mailbox === '' ? {} : { mailbox }) };
  const order = orderIn({ act, ids, by: session.user, to, stays: form.get('stays') === 'yes' }, routes);
  if (!order.ok) {
    session.flash = { kind: 'failed', text: `Nothing was done: ${order.problem}.` };
    return seeOther(back);
  }
  const outcomes = await operations.act({ ...order.value, by: session.user });
  session.flash = outcomeLine(act, outcomes);
  return seeOther(back);
}

/** Each is opened when its turn comes. */
function exported(ids: readonly string[], by: string, operations: Operations): Answer {
  async function* entries(): AsyncGenerator<MboxEntry> {
    for (const item of await operations.list({ ids, limit: MOST })) {
      const body = await operations.read(item.id, by);
      if (typeof body !== 'string') yield { at: item.arrivedAt, octets: body.octets };
    }
  }
  return {
    status: 200,
    type: 'application/mbox',
    body: { octets: mboxOf(entries()) },
    headers: { 'content-disposition': 'attachment; filename="messages.mbox"' },
  };
}
