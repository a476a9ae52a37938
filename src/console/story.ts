/** One message: what it is, what can be done with it, and what happened to it step by step. Pure; never fails. */
import type { Envelope, Origin } from '../mail/envelope.ts';
import type { HistoryEntry, QueueItem } from '../mail/item.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { distance, duration, moment, octets } from './figures.ts';
import { HAPPENED, STATE_WORDS, canDo, stateBadge, toneOf } from './item-words.ts';
import type { Markup, Piece } from './markup.ts';
import { markup, shown } from './markup.ts';
import { recipientsText } from './messages.ts';
import type { Act, Story } from './operations.ts';
import { ACTS } from './operations.ts';

/** Recipients that are named. */
const NAMED = 100;
/** Lines of a history that are shown: the first and the last ones. */
const FIRST_LINES = 20;
const LAST_LINES = 180;
/** Ids of the spool, in a line of history. */
const SPOOL_ID = /\b[0-9a-hjkmnp-tv-z]{16}(?:-\d{1,4})?\b/g;

export function storyPage(story: Story, now: number): Markup {
  const { item, history, header } = story;
  const here = `/messages/${item.id}`;
  const hasBody = item.untold === true || ['queued', 'sending', 'parked'].includes(item.state);
  return markup`<p class="crumbs"><a href="/messages">Messages</a></p>
<h1 class="title">${header?.subject === undefined || header.subject === '' ? `To ${recipientsText(item)}` : shown(header.subject)}</h1>
<p class="lead">${stateBadge(item)} ${stateSentence(item, now)}</p>
${actForms(item, here, hasBody)}
<div class="columns">
<section aria-labelledby="story-title"><h2 id="story-title">What happened</h2>${timeline(history)}</section>
<section aria-labelledby="facts-title"><h2 id="facts-title">Facts</h2>${facts(story)}</section>
</div>`;
}

function stateSentence(item: QueueItem, now: number): Piece {
  const { state, due, untold, damaged } = item;
  const words =
    untold === true
      ? 'given up, and the notice to its sender is under way; its content is kept until that is delivered'
      : STATE_WORDS[state];
  const when = state === 'queued' ? (due > now ? `, ${distance(due, now)}` : ', due now') : '';
  const doubt = item.doubtful
    ? '. An earlier attempt may have gone through: it is looked for before it is sent again'
    : '';
  return markup`${words}${when}${doubt}.${damaged !== undefined && markup` It is damaged: ${shown(damaged)}.`}`;
}

function actForms(item: QueueItem, here: string, hasBody: boolean): Markup {
  const able = ACTS.filter((act) => canDo(act, item) && !(act === 'hold' && item.state === 'parked'));
  const words: Readonly<Record<Act, string>> = {
    retry: 'Retry now',
    hold: 'Hold',
    release: 'Release',
    move: 'Move…',
    drop: 'Drop',
  };
  return markup`<div class="acts" role="group" aria-label="With this message">
${
  able.length > 0 &&
  markup`<form method="get" action="/acts" id="acts" data-dialog><input type="hidden" name="id" value="${item.id}"><input type="hidden" name="back" value="${here}">${able.map(
    (act) =>
      markup`<button name="act" value="${act}"${act === 'drop' && markup` class="button-danger"`}>${words[act]}</button> `,
  )}</form>`
}
${hasBody && markup`<a class="button" id="preview" href="${here}/preview">Look at its content</a> <a class="button" id="download" href="${here}/message.eml" download="${item.id}.eml">Download .eml</a>`}
${!hasBody && markup`<span class="quiet">Its content is gone: it is kept only until a message is delivered or ended.</span>`}
</div>`;
}

function timeline(history: readonly HistoryEntry[]): Markup {
  const isLong = history.length > FIRST_LINES + LAST_LINES;
  const first = isLong ? history.slice(0, FIRST_LINES) : history;
  const last = isLong ? history.slice(-LAST_LINES) : [];
  const start = history[0]?.at;
  return markup`<ol class="timeline" id="timeline">${first.map((entry) => chapter(entry, start))}${
    isLong && markup`<li class="gap quiet">${history.length - FIRST_LINES - LAST_LINES} lines are left out here</li>`
  }${last.map((entry) => chapter(entry, start))}</ol>`;
}

function chapter({ at, what, detail, status }: HistoryEntry, start: number | undefined): Markup {
  const since = start === undefined || at === start ? '' : `+${duration((at - start) / 1000)}`;
  return markup`<li class="chapter tone-${toneOf(what)}"><div class="chapter-head"><strong>${HAPPENED[what] ?? shown(what)}</strong> <span class="quiet">${moment(at)} ${since}</span></div>
${detail !== undefined && markup`<p>${linked(detail)}</p>`}${status !== undefined && statusOf(status)}</li>`;
}

function statusOf(status: DeliveryStatus): Markup {
  const { requestId, clientRequestId, server } = status.ids ?? {};
  const trace = (
    [
      ['request-id', requestId],
      ['client-request-id', clientRequestId],
      ['server', server],
    ] as const
  ).flatMap(([name, value]) =>
    value === undefined ? [] : [markup`<dt>${name}</dt><dd><code>${shown(value)}</code></dd>`],
  );
  const reasons = (status.reason ?? '').split('\n').filter((line) => line.trim() !== '');
  return markup`<p><code>${status.code}</code> <code>${shown(status.cause)}</code> ${shown(status.text, 1_000)}</p>
${reasons.map((line) => markup`<p class="reason">${shown(line, 2_000)}</p>`)}
${trace.length > 0 && markup`<details class="trace"><summary>For Microsoft’s trace</summary><dl class="facts">${trace}</dl></details>`}`;
}

/** Ids of other messages (a notice, the one it tells of, a part) lead there. */
function linked(text: string): Markup {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { 0: id, index } of text.matchAll(SPOOL_ID)) {
    pieces.push(shown(text.slice(at, index), 1_000), markup`<a href="/messages/${id}">${id}</a>`);
    at = index + id.length;
  }
  return markup`${pieces}${at < text.length && shown(text.slice(at), 1_000)}`;
}

function facts({ item, header }: Story): Markup {
  const { envelope, mailbox, route, messageId, size, arrivedAt, origin, attempts, id, message, tells } = item;
  const rows: (readonly [string, Piece])[] = [
    ...(header === undefined
      ? []
      : ([
          ['Subject', header.subject === undefined ? undefined : shown(header.subject)],
          ['From', people(header.from)],
          ['To', people(header.to)],
        ] as const)),
    [
      'Sender',
      envelope.reversePath === ''
        ? markup`<span class="quiet">none: it is a notice</span>`
        : shown(envelope.reversePath),
    ],
    ['Recipients', recipientsOf(envelope)],
    ['Sent as', markup`${shown(mailbox)} on route ${shown(route)}`],
    ['Message-ID', messageId === '' ? undefined : markup`<code>${shown(messageId)}</code>`],
    ['Id', markup`<code>${id}</code>`],
    ['Content', message === id ? undefined : markup`shared with <a href="/messages/${message}">${message}</a>`],
    [
      'Tells of',
      tells === undefined ? undefined : markup`<a href="/messages/${tells}">${tells}</a>, which waits for it`,
    ],
    ['Size', octets(size)],
    ['Arrived', moment(arrivedAt)],
    ['Came by', originOf(origin)],
    ['Attempts', attempts],
  ];
  return markup`<dl class="facts" id="facts">${rows.map(([name, value]) => value !== undefined && value !== '' && markup`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

function people(all: readonly string[]): Piece {
  return all.length === 0 ? undefined : all.map((one, at) => markup`${at > 0 && ', '}${shown(one)}`);
}

function recipientsOf({ recipients }: Envelope): Piece {
  const named = recipients.slice(0, NAMED);
  const more = recipients.length - named.length;
  return markup`<ul class="plain">${named.map(({ address, notify }) => markup`<li>${shown(address)}${notify !== undefined && markup` <span class="quiet">notify: ${notify.join(', ')}</span>`}</li>`)}${more > 0 && markup`<li class="quiet">and ${more} more</li>`}</ul>`;
}

function originOf({ source, name, peer, helo, user, tls }: Origin): Piece {
  if (source === 'gateway') return 'the gateway itself';
  return markup`${source === 'pickup' ? 'pickup ' : 'listener '}${shown(name)}${peer !== '' && markup` from ${shown(peer)}`}${helo !== undefined && markup`, as ${shown(helo)}`}${user !== undefined && markup`, user ${shown(user)}`}${tls !== undefined && markup`, ${shown(tls)}`}`;
}
