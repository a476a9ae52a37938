/** Before an order is carried out: which messages it concerns, and what will happen. Pure; never fails. */
import type { QueueItem } from '../mail/item.ts';
import { countOf, moment } from './figures.ts';
import { ACT_WORDS, NOT_DONE, canDo, stateBadge } from './item-words.ts';
import { formTokenField } from './layout.ts';
import type { Markup } from './markup.ts';
import { markup, shown } from './markup.ts';
import { recipientsText } from './messages.ts';
import type { Act, Outcome } from './operations.ts';
import type { Flash } from './sessions.ts';

export interface Question {
  readonly act: Act | 'export';
  readonly items: readonly QueueItem[];
  /** Where to go afterwards: a path of ours. */
  readonly back: string;
  readonly formToken: string;
  readonly routes: readonly string[];
}

/** Messages that are listed. */
const LISTED = 20;

export function confirmPage(question: Question): Markup {
  const { act, items, back, formToken } = question;
  const able = act === 'export' ? items : items.filter((item) => canDo(act, item));
  const title = act === 'export' ? 'Export' : ACT_WORDS[act].question;
  const left = items.length - able.length;
  return markup`<section class="confirm" id="confirm" aria-labelledby="confirm-title">
<h1 class="title" id="confirm-title">${title}: ${countOf(able.length, 'message')}</h1>
<p>${act === 'export' ? 'The messages as they lie in the store, one after the other in one file (mbox). It stands in the log who read them.' : ACT_WORDS[act].means}</p>
${left > 0 && markup`<p class="quiet">${countOf(left, 'other')} of the chosen will be left as ${left === 1 ? 'it is' : 'they are'}: ended already, under way, or not in a state for this.</p>`}
<ul class="plain concerned">${able.slice(0, LISTED).map((item) => markup`<li>${stateBadge(item)} to ${recipientsText(item)} <span class="quiet">${moment(item.arrivedAt)}</span></li>`)}${able.length > LISTED && markup`<li class="quiet">and ${able.length - LISTED} more</li>`}</ul>
<form method="post" action="/acts" id="confirm-form">
${formTokenField(formToken)}<input type="hidden" name="act" value="${act}"><input type="hidden" name="back" value="${back}">
${able.map(({ id }) => markup`<input type="hidden" name="id" value="${id}">`)}
${act === 'move' && destination(question)}
<p class="acts">${able.length > 0 && markup`<button id="confirm-yes" class="${act === 'drop' ? 'button-danger' : 'button-main'}">${title}</button>`} <a class="button" id="confirm-no" href="${back}" data-close${act === 'drop' && markup` autofocus`}>Cancel</a></p>
</form></section>`;
}

function destination({ routes }: Question): Markup {
  return markup`<div class="filter-fields"><div><label for="move-mailbox">Send as mailbox</label><input id="move-mailbox" name="mailbox" inputmode="email" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="unchanged"></div>
<div><label for="move-route">On route</label><select id="move-route" name="route"><option value="">unchanged</option>${routes.map((name) => markup`<option>${name}</option>`)}</select></div></div>
<p><label><input type="checkbox" name="stays" value="yes"> Leave it in the state it is in, instead of trying it at once</label></p>`;
}

const DONE: Readonly<Record<Act, string>> = {
  retry: 'due now',
  hold: 'held',
  release: 'released',
  move: 'moved',
  drop: 'dropped',
};

/** What became of it, in a line. */
export function outcomeLine(act: Act, outcomes: readonly Outcome[]): Flash {
  const done = outcomes.filter((outcome) => outcome === 'done').length;
  const left = new Map<Exclude<Outcome, 'done'>, number>();
  for (const outcome of outcomes) if (outcome !== 'done') left.set(outcome, (left.get(outcome) ?? 0) + 1);
  const reasons = [...left].map(
    ([outcome, many]) => `${many} left as ${many === 1 ? 'it is' : 'they are'}: ${NOT_DONE[outcome]}.`,
  );
  return {
    kind: done === 0 ? 'failed' : 'done',
    text: [`${countOf(done, 'message')} ${DONE[act]}.`, ...reasons].join(' '),
  };
}

/** The same without a message: nothing was chosen. */
export function nothingChosen(back: string): Markup {
  return markup`<section class="confirm" id="confirm" aria-labelledby="confirm-title"><h1 class="title" id="confirm-title">No message is chosen</h1><p>Tick the messages that are meant, then choose what to do with them. Those that were ticked may be gone by now.</p><p class="acts"><a class="button" href="${back}" data-close>${shown('Back')}</a></p></section>`;
}
