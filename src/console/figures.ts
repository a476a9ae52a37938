/** Times, sizes and counts as the pages say them. A time is one of the zone this machine has. Pure; never fails. */
import type { Markup } from './markup.ts';
import { markup } from './markup.ts';

const two = (number: number): string => String(number).padStart(2, '0');

/** `2026-11-24 08:00:05`, with its exact value for machines. @param time epoch milliseconds */
export function moment(time: number): Markup {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return markup`${time}`;
  return markup`<time datetime="${date.toISOString()}">${dayOf(date)} ${clockOf(date)}</time>`;
}

/** The same, without the day where that is today. */
export function shortMoment(time: number, now: number): Markup {
  const date = new Date(time);
  if (Number.isNaN(date.getTime()) || dayOf(date) !== dayOf(new Date(now))) return moment(time);
  return markup`<time datetime="${date.toISOString()}" title="${dayOf(date)} ${clockOf(date)}">${clockOf(date)}</time>`;
}

/** `08:00`. */
export function clock(time: number): string {
  const date = new Date(time);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function day(time: number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? String(time) : dayOf(date);
}

function dayOf(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function clockOf(date: Date): string {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The zone of all times, as people know it. */
export function zone(now: number): string {
  const offset = -new Date(now).getTimezoneOffset();
  const minutes = Math.abs(offset);
  return `UTC${offset < 0 ? '−' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

const STEPS = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
] as const;

/** `3 d 4 h`, `12 min`, `45 s`. @param seconds below 0 as 0 */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const first = STEPS.findIndex(([size]) => whole >= size);
  if (first < 0) return '0 s';
  const [size, unit] = STEPS[first] ?? [1, 's'];
  const amount = Math.floor(whole / size);
  const [smaller, smallUnit] = STEPS[first + 1] ?? [1, 's'];
  const rest = Math.floor((whole % size) / smaller);
  return rest === 0 || amount >= 10 ? `${amount} ${unit}` : `${amount} ${unit} ${rest} ${smallUnit}`;
}

/** `5 min ago`, or `in 5 min`. */
export function distance(time: number, now: number): string {
  const seconds = (time - now) / 1000;
  return seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
}

export function octets(size: number): string {
  if (size < 1_000) return `${size} B`;
  if (size < 1_000_000) return `${(size / 1_000).toFixed(1)} kB`;
  return size < 1_000_000_000 ? `${(size / 1_000_000).toFixed(1)} MB` : `${(size / 1_000_000_000).toFixed(1)} GB`;
}

/** `12,345`. */
export function count(amount: number): string {
  return String(amount).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function countOf(amount: number, what: string): string {
  return `${count(amount)} ${what}${amount === 1 ? '' : 's'}`;
}
