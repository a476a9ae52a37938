/** What `spool move` tells, as text for people and as JSON for programs. Pure; never fails. */
import type { SpoolStats } from '../mail/spool.ts';
import type { Transferred } from '../spool/transfer.ts';
import { countOf, octets, plain } from './queue-text.ts';

export interface Moved {
  /** For people, without a secret. */
  readonly from: string;
  readonly to: string;
  readonly done: Transferred;
  /** All is over but for what cannot be read. */
  readonly isWhole: boolean;
}

/** For the line that is written over. */
export function howFar({ items, octets: done, receipts }: Transferred, total: SpoolStats | undefined): string {
  const all = total === undefined ? 0 : Object.values(total.items).reduce((sum, count) => sum + count, 0);
  if (items === 0 && receipts === 0) return 'Moving what is known of pickups…';
  return total === undefined || all < items
    ? `Moving… ${countOf(items)}, ${octets(done)}`
    : `Moving… ${items} of ${countOf(all)}, ${octets(done)} of ${octets(total.bytes)}`;
}

/** @param advice lines for the configuration */
export function moveText({ from, to, done, isWhole }: Moved, advice: readonly string[], configFile: string): string[] {
  const { messages, items, receipts, cursors, already, left } = done;
  const counts = [
    `${countOf(messages, 'message')} (${countOf(items)}, ${octets(done.octets)})`,
    ...(receipts === 0 ? [] : [`${countOf(receipts, 'receipt')} of pickups`]),
    ...(cursors === 0 ? [] : [`${countOf(cursors, 'cursor')} of pickups`]),
  ].join(', ');
  const before = already === 0 ? '' : `; ${already} of the messages had been put over before`;
  const lines = [`Moved from ${from} to ${to}: ${counts}${before}`];
  for (const { id, why } of left) lines.push(`${id ?? '-'}  left at ${from}: ${plain(why)}`);
  if (!isWhole)
    return [
      ...lines,
      `The rest is where it was, in ${from}. No gateway starts on either until this has come to its end`,
    ];
  if (left.some(({ id }) => id === undefined))
    lines.push('Pickups may take mail again that still lies in their folders: look there before the gateway starts');
  if (left.length > 0)
    lines.push(
      `What is left can still be looked at and saved ("queue show ID", "queue export ID") with a configuration that names ${from}`,
    );
  if (advice.length === 0) return [...lines, `${configFile} names ${to}: the gateway can start`];
  return [
    ...lines,
    `Before the gateway starts, write this into the section spool of ${configFile}, in place of what names the spool there:`,
    ...advice.map((line) => `  ${line}`),
  ];
}

export function moveJson({ from, to, done, isWhole }: Moved, advice: readonly string[]): object {
  const { messages, items, octets: size, receipts, cursors, already, left } = done;
  return { from, to, isWhole, messages, items, octets: size, receipts, cursors, already, left, configuration: advice };
}
