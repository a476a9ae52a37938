/** The list of messages: a line to ask by, the same as fields, and what was found, newest first. Pure; never fails. */
import { ITEM_STATES } from '../mail/item.ts';
import type { QueueItem } from '../mail/item.ts';
import { octets, shortMoment } from './figures.ts';
import { stateBadge } from './item-words.ts';
import type { Markup, Piece } from './markup.ts';
import { markup, plain, shown } from './markup.ts';

/** Messages of one page. */
export const PAGE_SIZE = 50;
/** Recipients that a line names. */
const NAMED = 2;

export interface MessageList {
  readonly question: string;
  /** The fields as they were given. */
  readonly fields: Fields;
  /** How the question was understood. */
  readonly words: readonly string[];
  readonly problems: readonly string[];
  readonly items: readonly QueueItem[];
  /** The address of this page, and of the next one if there is more. */
  readonly here: string;
  readonly older?: string;
  /** The first page of the same question, if this is a later one. */
  readonly newest?: string;
  readonly routes: readonly string[];
  readonly now: number;
}

export interface Fields {
  readonly states: readonly string[];
  readonly from: string;
  readonly to: string;
  readonly route: string;
  readonly mailbox: string;
  readonly after: string;
  readonly before: string;
}

export function messagesPage(list: MessageList): Markup {
  const { question, words, problems, items } = list;
  return markup`<h1 class="title">Messages</h1>
<form class="search" role="search" method="get" action="/messages" id="search">
  <label for="question" class="visually-hidden">Find messages</label>
  <input id="question" type="search" name="q" value="${plain(question)}" placeholder="to fax@contoso.com this morning" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="question-help">
  <button class="button-main" id="find">Find</button>
  ${fieldsOf(list)}
</form>
<p class="quiet hint" id="question-help">An address or a part of one, a Message-ID, an id, a state, a time: <q>where is the mail to fax@contoso.com of this morning?</q> <q>from:scanner state:parked since yesterday</q></p>
${problems.length > 0 && markup`<ul class="flash flash-failed" id="question-problems">${problems.map((problem) => markup`<li>${shown(problem)}</li>`)}</ul>`}
<p id="understood" role="status">${understood(words, items.length, list.older !== undefined || list.newest !== undefined)}</p>
${items.length > 0 && table(list)}`;
}

function understood(words: readonly string[], found: number, isMore: boolean): Piece {
  const what =
    words.length === 0
      ? 'All messages'
      : markup`Messages ${words.map((word, at) => markup`${at > 0 && ', '}${shown(word)}`)}`;
  const many =
    found === 0
      ? 'none found.'
      : isMore
        ? 'newest first.'
        : found === 1
          ? 'one found.'
          : `${found} found, newest first.`;
  return markup`${what}: ${many}`;
}

function fieldsOf({ fields, routes }: MessageList): Markup {
  const { states, from, to, route, mailbox, after, before } = fields;
  const isOpen = states.length > 0 || [from, to, route, mailbox, after, before].some((value) => value !== '');
  const line = (name: string, label: string, value: string, hint: string): Markup =>
    markup`<div><label for="field-${name}">${label}</label><input id="field-${name}" name="${name}" value="${plain(value)}" placeholder="${hint}" autocomplete="off" autocapitalize="none" spellcheck="false"></div>`;
  return markup`<details class="filters" id="filters"${isOpen && markup` open`}><summary>Filters</summary>
<div class="filter-fields">
<fieldset><legend>State</legend><div class="checks">${ITEM_STATES.map(
    (state) =>
      markup`<label><input type="checkbox" name="state" value="${state}"${states.includes(state) && markup` checked`}> ${state}</label>`,
  )}</div></fieldset>
${line('from', 'Sender', from, 'address or part')}
${line('to', 'Recipient', to, 'address or part')}
${line('mailbox', 'Sent as', mailbox, 'mailbox')}
<div><label for="field-route">Route</label><select id="field-route" name="route"><option value="">any</option>${routes.map(
    (name) => markup`<option${name === route && markup` selected`}>${name}</option>`,
  )}</select></div>
${line('after', 'Arrived since', after, '08:00 or 2026-11-24')}
${line('before', 'Arrived before', before, '12:00 or 2026-11-25')}
</div><p class="filter-buttons"><button>Apply</button> <a href="/messages">Clear</a></p></details>`;
}

function table({ items, here, older, newest, now }: MessageList): Markup {
  return markup`<form method="get" action="/acts" id="found" data-dialog>
<input type="hidden" name="back" value="${here}">
<table class="cards messages" id="messages"><thead><tr><th scope="col" class="tick"><span class="visually-hidden">Choose</span></th><th scope="col">State</th><th scope="col">Arrived</th><th scope="col">From</th><th scope="col">To</th><th scope="col">Sent as</th><th scope="col" class="number">Size</th><th scope="col">Last status</th></tr></thead>
<tbody>${items.map((item) => row(item, now))}</tbody></table>
<div class="acts" role="group" aria-label="With the chosen messages">
<button name="act" value="retry">Retry</button> <button name="act" value="hold">Hold</button> <button name="act" value="release">Release</button> <button name="act" value="move">Move…</button> <button name="act" value="export">Export</button> <button name="act" value="drop" class="button-danger">Drop</button>
</div></form>
<nav class="paging" aria-label="Pages">${newest !== undefined && markup`<a href="${newest}" id="newest">Newest</a>`} ${older !== undefined && markup`<a href="${older}" id="older" rel="next">Older</a>`}</nav>`;
}

function row(item: QueueItem, now: number): Markup {
  const { id, envelope, mailbox, route, arrivedAt, size, lastStatus, damaged } = item;
  const sender =
    envelope.reversePath === '' ? markup`<span class="quiet">none (a notice)</span>` : shown(envelope.reversePath, 120);
  const what = `message to ${recipientsText(item)}`;
  return markup`<tr id="message-${id}"><td class="tick"><input type="checkbox" name="id" value="${id}" aria-label="Choose ${what}"></td>
<td data-label="State">${stateBadge(item)}</td>
<td data-label="Arrived">${shortMoment(arrivedAt, now)}</td>
<td data-label="From">${sender}</td>
<th scope="row" data-label="To"><a href="/messages/${id}">${recipients(item)}</a></th>
<td data-label="Sent as">${shown(mailbox, 120)}${route !== 'exchange' && markup` <span class="quiet">on ${shown(route)}</span>`}</td>
<td data-label="Size" class="number">${octets(size)}</td>
<td data-label="Last status">${
    damaged !== undefined
      ? markup`damaged: ${shown(damaged)}`
      : lastStatus === undefined
        ? '–'
        : markup`${lastStatus.code} ${shown(lastStatus.cause, 80)}`
  }</td></tr>`;
}

function recipients({ envelope }: QueueItem): Piece {
  const named = envelope.recipients.slice(0, NAMED);
  if (named.length === 0) return 'nobody';
  const more = envelope.recipients.length - named.length;
  return markup`${named.map(({ address }, at) => markup`${at > 0 && ', '}${shown(address, 120)}`)}${more > 0 && ` and ${more} more`}`;
}

export function recipientsText({ envelope }: QueueItem): string {
  const [first] = envelope.recipients;
  const more = envelope.recipients.length - 1;
  return first === undefined ? 'nobody' : `${plain(first.address, 120)}${more > 0 ? ` and ${more} more` : ''}`;
}
