/** The mailboxes that are picked up from. Pure; never fails. */
import type { PickupState } from './board.ts';
import { count, distance, duration, moment } from './figures.ts';
import { formTokenField } from './layout.ts';
import type { Markup } from './markup.ts';
import { markup, shown } from './markup.ts';
import { pickupState } from './overview.ts';

/** A pickup, and how much of its mail waits for the legacy system; with `more`: at least so much. */
export interface PickupRow {
  readonly name: string;
  readonly state: PickupState;
  readonly waiting?: { readonly count: number; readonly more: boolean };
}

export function pickupsPage(rows: readonly PickupRow[], formToken: string, now: number): Markup {
  return markup`<h1 class="title">Pickups</h1>
<p class="quiet">Mailboxes whose mail is handed over to a legacy system. Counts are this gateway's since its start.</p>
${rows.length === 0 && markup`<p>The configuration has none.</p>`}
<ul class="pickups plain">${rows.map((row) => card(row, formToken, now))}</ul>`;
}

function card({ name, state, waiting }: PickupRow, formToken: string, now: number): Markup {
  const { mailbox, folder, transport, listens, lastLook, failing, other, elsewhere } = state;
  const { taken, refused, skipped, quarantined, lag } = state;
  const rows = [
    [
      'Mailbox',
      mailbox === undefined
        ? undefined
        : markup`${shown(mailbox)}${folder !== undefined && markup`, folder ${shown(folder)}`}`,
    ],
    [
      'Read by',
      transport === undefined
        ? undefined
        : `${transport === 'ews' ? 'EWS' : 'Microsoft Graph'}${listens === true ? ', told of new mail at once' : ''}`,
    ],
    [
      'Last look',
      lastLook === undefined
        ? 'none yet'
        : markup`${moment(lastLook)} <span class="quiet">${distance(lastLook, now)}</span>`,
    ],
    ['Lag of the latest', lag === undefined ? undefined : `${duration(lag)} from its arrival to its hand-over`],
    [
      'Waiting for hand-over',
      waiting === undefined
        ? undefined
        : markup`<a href="/messages?route=${name}&amp;state=queued&amp;state=sending">${count(waiting.count)}${waiting.more && ' or more'}</a>`,
    ],
    ['Taken', count(taken)],
    ['Refused by rule', count(refused)],
    ['Skipped by rule', count(skipped)],
    ['Put aside for a person', count(quarantined)],
    ['Other gateway', other === undefined ? undefined : shown(other)],
    ['Done by', elsewhere === undefined || elsewhere === '' ? undefined : markup`the gateway on ${shown(elsewhere)}`],
  ] as const;
  return markup`<li class="pickup" id="pickup-${name}"><div class="pickup-head"><h2>${name}</h2> ${pickupState(state)}
<form method="post" action="/pickups">${formTokenField(formToken)}<input type="hidden" name="pickup" value="${name}"><button aria-label="Look now into ${name}">Look now</button></form></div>
${failing !== undefined && markup`<div class="problem problem-critical">${failing.reason.split('\n').map((line) => markup`<p>${shown(line, 2_000)}</p>`)}<p class="quiet">since ${moment(failing.since)}, tried next ${distance(failing.until, now)}</p></div>`}
<dl class="facts">${rows.map(([label, value]) => value !== undefined && markup`<dt>${label}</dt><dd>${value}</dd>`)}</dl></li>`;
}
