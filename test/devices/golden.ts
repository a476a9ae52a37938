/**
 * What reached Exchange, as text for a golden file. Octets that cannot be seen are written as in a script; a long run of
 * base64 is named by its hash. Only what differs from run to run is replaced: the id of the message, and the time at
 * which the gateway handled it. The Received field that the gateway added is shown unfolded, because where it folds
 * depends on the date.
 */
import { canonicalAddress } from '../../src/mail/address.ts';
import type { Arrival } from '../../src/sandbox/sandbox.ts';
import { nameOf } from './attachment.ts';

export interface Outcome {
  readonly id: string;
  readonly arrival: Arrival;
  /** As the gateway told them. */
  readonly repairs: readonly string[];
}

const LONG_RUN = 12;
const BASE64_LINE = /^[A-Za-z0-9+/]{4,76}={0,2}\r\n$/;
const RFC5322_DATE = /[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}/g;
/** A message is not older than this when it is looked at, milliseconds. */
const NOW = 600_000;

export function render(outcomes: readonly Outcome[]): string {
  return outcomes.map((outcome, index) => message(outcome, index + 1)).join('\n');
}

function message({ id, arrival, repairs }: Outcome, number: number): string {
  const { mailbox, to, cc, bcc, elements, extended, submitted } = arrival;
  const facts = {
    mailbox: [mailbox],
    to,
    cc,
    bcc,
    elements: Object.entries(elements).map(([name, value]) => `${name}=${value}`),
    properties: extended.map(({ path, values }) => `${nameOfProperty(path)}=${values.join(',')}`),
    repairs,
  };
  const lines = Object.entries(facts).flatMap(([name, values]) => values.map((value) => `${name}: ${value}`));
  const text = [`== message ${number}`, ...lines, '', ...mimeLines(submitted)].join('\n');
  return `${text.replaceAll(id, '{id}').replace(RFC5322_DATE, (date) => (isNow(date) ? '{date}' : date))}\n`;
}

function nameOfProperty(path: Readonly<Record<string, string>>): string {
  return path['PropertyName'] ?? `0x${Number(path['PropertyTag']).toString(16)}`;
}

function isNow(date: string): boolean {
  return Math.abs(Date.parse(date) - Date.now()) < NOW;
}

function mimeLines(mime: Buffer): string[] {
  const shown: string[] = [];
  let run: Buffer[] = [];
  const endRun = (): void => {
    if (run.length >= LONG_RUN) shown.push(nameOf(run));
    else shown.push(...run.map(visible));
    run = [];
  };
  for (let at = 0; at < mime.length;) {
    const lf = mime.indexOf(0x0a, at);
    const end = lf < 0 ? mime.length : lf + 1;
    const line = mime.subarray(at, end);
    // Only lines that could be base64 are looked at as text: a scan has a million of them.
    if (line.length <= 80 && BASE64_LINE.test(line.toString('latin1'))) run.push(line);
    else {
      endRun();
      shown.push(visible(line));
    }
    at = end;
  }
  endRun();
  return unfoldFirst(shown);
}

/** The Received field at the top. */
function unfoldFirst(lines: readonly string[]): string[] {
  if (lines[0]?.startsWith('Received:') !== true) return [...lines];
  const next = lines.findIndex((line, index) => index > 0 && !/^[ \t]/.test(line));
  return [lines.slice(0, next).join(''), ...lines.slice(next)];
}

/** A line that does not end with CRLF says how it ends. */
function visible(line: Buffer): string {
  const text = line.toString('latin1');
  const isWhole = text.endsWith('\r\n');
  const shown = (isWhole ? text.slice(0, -2) : text)
    .replaceAll('\\', '\\\\')
    .replaceAll('\r', '\\r')
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t')
    .replace(/[^ -~]/g, (octet) => `\\x${octet.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replace(/ $/, '\\x20');
  return isWhole ? shown : `${shown}\\`;
}

/** What must hold for every message, whatever its golden file says. */
export function faultsOf({ arrival }: Outcome, envelope: readonly string[]): string[] {
  const faults: string[] = [];
  const { to, cc, bcc, submitted, undeliverable } = arrival;
  const end = submitted.indexOf('\r\n\r\n');
  const header = submitted.toString('latin1', 0, end < 0 ? submitted.length : end + 2);
  const named = [...to, ...cc, ...bcc].map(canonicalAddress).toSorted();
  if (named.join() !== [...new Set(envelope.map(canonicalAddress))].toSorted().join())
    faults.push(`recipients ${named.join()} are not the envelope's ${envelope.join()}`);
  for (const blind of bcc)
    if (header.toLowerCase().includes(blind.toLowerCase()))
      faults.push(`the header shows the blind recipient ${blind}`);
  if (undeliverable.length > 0) faults.push(`nobody has ${undeliverable.join()}`);
  if (/\r(?!\n)|(?<!\r)\n/.test(header)) faults.push('the header has a bare CR or LF');
  if (hasBareLineEnd(submitted)) faults.push('the body has a bare CR or LF');
  if (header.split('\r\n').some((line) => line.length > 998)) faults.push('a header line has more than 998 octets');
  if (header.includes('\0')) faults.push('the header has a NUL');
  return faults;
}

function hasBareLineEnd(octets: Buffer): boolean {
  for (let at = octets.indexOf(0x0a); at >= 0; at = octets.indexOf(0x0a, at + 1))
    if (octets[at - 1] !== 0x0d) return true;
  for (let at = octets.indexOf(0x0d); at >= 0; at = octets.indexOf(0x0d, at + 1))
    if (octets[at + 1] !== 0x0a) return true;
  return false;
}
