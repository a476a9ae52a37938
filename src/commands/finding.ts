/** What `check` has found: one thing, how it is, and what to do about it. Never fails. */
import type { StepId } from './step.ts';

/** fail: mail would not go. warn: it goes, but somebody should know. skip: could not be tried. */
export type Mark = 'ok' | 'warn' | 'fail' | 'skip';

export const WHATS = [
  'configuration',
  'data folder',
  'database',
  'port',
  'certificate',
  'transport',
  'dns',
  'proxy',
  'authority',
  'clock',
  'token',
  'claims',
  'reach',
  'mailbox',
  'outside',
  'send as',
  'pickup',
  'folder',
  'hand-over',
  'send to',
] as const;

export interface Finding {
  readonly mark: Mark;
  readonly what: (typeof WHATS)[number];
  readonly route?: string;
  /** Name of a pickup. */
  readonly pickup?: string;
  /** How the mailbox is reached (ews, graph, smtp), or mail handed over (smtp, folder, webhook, command, pop3). */
  readonly transport?: string;
  /** A host, an address with its port, a listener. */
  readonly at?: string;
  readonly mailbox?: string;
  /** Path of a folder of the mailbox. */
  readonly folder?: string;
  /** What was found, and what to do. */
  readonly says: string;
  /** The step of the walk-through that mends it; absent: none of it does. */
  readonly step?: StepId;
}

/** As it is told. */
export interface Told extends Finding {
  /** Of the step. */
  readonly title?: string;
  readonly seconds: number;
}

export type Judged = Pick<Finding, 'mark' | 'says' | 'step'>;

/** Milliseconds for a mailbox, and for a system that mail is handed over to. */
export const PATIENCE = 60_000;

/** What is not in use may be closed: that is why it is not in use. */
export function eased(mark: Mark, isSpare: boolean): Mark {
  return mark === 'fail' && isSpare ? 'warn' : mark;
}

/** How far in the further lines of a finding stand. */
const INDENT = ' '.repeat(21);

/** For a person: what was found and how long it took in one line; below it what there is to do. */
export function linesOf({
  mark,
  what,
  route,
  pickup,
  transport,
  at,
  mailbox,
  folder,
  ...rest
}: Told): readonly string[] {
  const { says, step, title, seconds } = rest;
  const where = [route, pickup, transport, at, mailbox, folder].filter((part) => part !== undefined).join(' ');
  const [first = '', ...more] = says.split('\n').map((line) => line.replace(/\p{Cc}+/gu, ' '));
  const mends = step === undefined ? [] : [`-> step ${step}${title === undefined ? '' : `: ${title}`}`];
  return [
    `${mark.padEnd(5)} ${what.padEnd(14)} ${where === '' ? '' : `${where}: `}${first} [${seconds.toFixed(1)} s]`,
    ...[...more, ...mends].map((line) => INDENT + line),
  ];
}
