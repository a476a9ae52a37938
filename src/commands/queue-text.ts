/**
 * Items and their histories as text for people and as JSON for programs. What came from outside is made harmless: no
 * control character, terminal escape or mark that changes the direction of writing reaches the terminal, and a line stays
 * one line. Pure; never fails.
 */
import { itemJson as ofConsole } from '../console/api.ts';
import { HAPPENED } from '../console/item-words.ts';
import type { Outcome, Story } from '../console/operations.ts';
import type { HistoryEntry, QueueItem } from '../mail/item.ts';
import type { DeliveryStatus } from '../mail/status.ts';
import { unreachable } from '../mail/status.ts';

/** Recipients of an item that are shown in a list, in a story. */
const IN_LIST = 2;
const IN_STORY = 50;
const CAUSE_LIMIT = 60;
const ADDRESS_LIMIT = 60;

/** White space of any kind becomes one space, other control and format characters a visible mark. */
export function plain(text: string): string {
  return text.replace(/[\t\n\v\f\r\u0085\u2028\u2029]+/gu, ' ').replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, '\ufffd');
}

/** JSON in which the same characters are escapes: it reads the same, and is harmless on a terminal. */
export function json(value: unknown): string {
  return JSON.stringify(value).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** ISO 8601 in the zone of this machine: `2026-11-24T04:00:00+01:00`. */
export function localTime(time: number): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return String(time);
  const offset = -date.getTimezoneOffset();
  const shifted = new Date(time + offset * 60_000).toISOString().slice(0, 19);
  const minutes = Math.abs(offset);
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${shifted}${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

export function octets(size: number): string {
  if (size < 1_000) return `${size} B`;
  return size < 1_000_000 ? `${(size / 1_000).toFixed(1)} kB` : `${(size / 1_000_000).toFixed(1)} MB`;
}

export function countOf(amount: number, what = 'item'): string {
  return `${amount} ${what}${amount === 1 ? '' : 's'}`;
}

function cut(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}

const shownPath = (path: string): string => (path === '' ? '<>' : plain(path));

export const COLUMNS = ['ID', 'STATE', 'ARRIVED', 'SIZE', 'SENT AS', 'SENDER', 'RECIPIENTS', 'LAST STATUS'] as const;

export function row(item: QueueItem): readonly string[] {
  const { recipients, reversePath } = item.envelope;
  const shown = recipients.slice(0, IN_LIST).map(({ address }) => cut(plain(address), ADDRESS_LIMIT));
  const more = recipients.length > IN_LIST ? [`+${recipients.length - IN_LIST}`] : [];
  return [
    item.id,
    `${item.state}${item.doubtful ? '?' : ''}`,
    localTime(item.arrivedAt),
    octets(item.size),
    cut(plain(item.mailbox), ADDRESS_LIMIT),
    cut(shownPath(reversePath), ADDRESS_LIMIT),
    [...shown, ...more].join(' '),
    item.damaged === undefined ? cut(shortStatus(item.lastStatus), CAUSE_LIMIT) : `damaged: ${plain(item.damaged)}`,
  ];
}

function shortStatus(status: DeliveryStatus | undefined): string {
  return status === undefined ? '-' : `${status.code} ${plain(status.cause)}`;
}

/** Columns as wide as their widest cell, two blanks between them. */
export function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const cells of rows)
    for (const [column, cell] of cells.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  return rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** For programs: times are ISO 8601 in UTC, as in the log. */
export function itemJson(item: QueueItem): object {
  return { ...ofConsole(item), envelope: item.envelope };
}

export function storyJson({ item, history, header }: Story): object {
  return { ...itemJson(item), ...(header === undefined ? {} : { header }), history: history.map(entryJson) };
}

function entryJson({ at, ...rest }: HistoryEntry): object {
  return { at: utc(at), ...rest };
}

function utc(time: number): string {
  return Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : String(time);
}

const STATES = {
  queued: 'waits for its next attempt',
  sending: 'an attempt is under way',
  parked: 'waits for an operator',
  relayed: 'delivered',
  bounced: 'given up, its sender was told',
  dropped: 'ended without being delivered',
} as const satisfies Record<QueueItem['state'], string>;

const UNTOLD = 'given up, and the notice to its sender is under way; the body is kept until it is delivered';

/** What happened, as somebody would tell it. */
export function storyText({ item, history, header }: Story): readonly string[] {
  const { envelope, origin } = item;
  const people = envelope.recipients.slice(0, IN_STORY).map(({ address }) => plain(address));
  const more = envelope.recipients.length > IN_STORY ? [`and ${envelope.recipients.length - IN_STORY} more`] : [];
  const way = [origin.helo && `as ${origin.helo}`, origin.user && `user ${origin.user}`, origin.tls].filter(Boolean);
  const facts: (readonly [string, string | undefined])[] = [
    ['id', item.id],
    ['message', item.message === item.id ? undefined : item.message],
    ['state', `${item.state}: ${item.untold === true ? UNTOLD : STATES[item.state]}`],
    ['notice for', item.tells],
    ['damaged', item.damaged],
    [
      'in doubt',
      item.doubtful ? 'an earlier attempt may have gone through; it is looked for before it is sent again' : undefined,
    ],
    ['due', item.state === 'queued' ? localTime(item.due) : undefined],
    ['subject', header?.subject],
    ['from', header?.from.join(', ')],
    ['to', header?.to.join(', ')],
    ['sender', shownPath(envelope.reversePath)],
    ['recipients', [...people, ...more].join(', ')],
    ['sent as', `${item.mailbox} on route ${item.route}`],
    ['Message-ID', item.messageId],
    ['size', octets(item.size)],
    ['arrived', `${localTime(item.arrivedAt)} ${broughtBy(origin)}${way.length > 0 ? ` (${way.join(', ')})` : ''}`],
    ['attempts', String(item.attempts)],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return [
    ...facts.flatMap(([name, value]) =>
      value === undefined || value === '' ? [] : [`${name.padEnd(width)}  ${plain(value)}`],
    ),
    '',
    ...history.flatMap(chapter),
  ];
}

/** Only a client of a listener has an address. */
function broughtBy({ source, name, peer }: QueueItem['origin']): string {
  switch (source) {
    case 'smtp':
      return `by ${name} from ${peer}`;
    case 'pickup':
      return `by pickup ${name}`;
    case 'gateway':
      return 'as a notice of this gateway';
    default:
      return unreachable(source);
  }
}

function chapter({ at, what, detail, status }: HistoryEntry): readonly string[] {
  const why = [
    ...(detail === undefined ? [] : [detail]),
    ...(status === undefined ? [] : [`${status.code} ${status.cause}: ${status.text}`]),
  ];
  const reasons = (status?.reason ?? '').split('\n').filter((line) => line.trim() !== '');
  const { requestId, clientRequestId, server } = status?.ids ?? {};
  const trace = [
    requestId && `request-id ${requestId}`,
    clientRequestId && `client-request-id ${clientRequestId}`,
    server && `server ${server}`,
  ].filter(Boolean);
  const below = [...why, ...reasons, ...(trace.length > 0 ? [trace.join(', ')] : [])];
  return [`${localTime(at)}  ${HAPPENED[what] ?? what}`, ...below.map((line) => `  ${plain(line)}`)];
}

/** Why an item was left as it is, and what can be done. */
export const NOT_DONE = {
  absent: 'there is no such item: it may have ended and its history be over (spool.retention)',
  sending: 'an attempt is under way; ask again when it is over',
  ended: 'it has ended already (delivered, bounced or dropped)',
  doubtful:
    'it may have been sent by its present mailbox, which can only be found out there; retry it, or drop it if you know that it arrived',
  notHeld: 'it is not parked, so there is nothing to release; "queue retry" makes it due now',
} as const satisfies Record<Exclude<Outcome, 'done'>, string>;
