/**
 * One notice of an alarm, as every channel gets it: harmless text, bounded, without secrets. docs/alarms.md describes
 * each form it is sent in. Pure; never fails.
 */
import type { AlarmReason, AlarmSeverity } from '../mail/alarm.ts';
import type { Change } from './alarm-register.ts';
import { moment } from './alarm-words.ts';
import { duration } from './amounts.ts';
import { createRedactor } from './redact.ts';

export interface Notice {
  readonly notice: Change['notice'];
  /** The same for the same trouble. */
  readonly alarm: string;
  readonly reason: AlarmReason;
  readonly severity: AlarmSeverity;
  /** Which gateway. */
  readonly gateway: string;
  /** One line. */
  readonly title: string;
  /** At most 40, together at most 4,000 characters; no empty one. */
  readonly lines: readonly string[];
  /** Epoch milliseconds: when the trouble began, and of this notice. */
  readonly since: number;
  readonly at: number;
}

const TITLE = 200;
const LINE = 1_000;
const TEXT = 4_000;
const LINES = 40;

// The operator needs the addresses; log.addresses is about the log.
const redact = createRedactor('full');

/** @param now epoch milliseconds */
export function noticeOf({ notice, condition }: Change, gateway: string, now: number): Notice {
  const { id, reason, severity, title, text, since } = condition;
  const lasted = `It is over. It lasted ${duration(Math.max(0, now - since) / 1000)}, since ${moment(since)}.`;
  return {
    notice,
    alarm: redact.id(id),
    reason,
    severity,
    gateway: redact.id(gateway),
    title: redact.text(title, TITLE),
    lines: notice === 'recovered' ? [lasted] : bounded(text),
    since,
    at: now,
  };
}

/** With what kind of notice it is, for where only one line is seen. */
export function headline({ notice, title, gateway }: Notice): string {
  const kind = { raised: 'Alarm', repeated: 'Still', recovered: 'Over' }[notice];
  return `${kind}: ${title} (${gateway})`;
}

/** What a program reads: the form `json`, and the standard input of a command. One line. */
export function noticeJson({ lines, since, at, ...rest }: Notice): string {
  return JSON.stringify({ ...rest, text: lines.join('\n'), since: moment(since), at: moment(at) });
}

function bounded(text: readonly string[]): readonly string[] {
  const lines: string[] = [];
  let room = TEXT;
  for (const line of text.flatMap((part) => part.split(/\r?\n/))) {
    const shown = redact.text(line, LINE).trimEnd();
    if (shown.trim() === '') continue;
    if (shown.length > room || lines.length === LINES) break;
    room -= shown.length;
    lines.push(shown);
  }
  return lines;
}
