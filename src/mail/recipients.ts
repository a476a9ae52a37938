/**
 * The envelope against the header. A server that knows no envelope delivers to whom the header names, so the header is
 * made to say what the envelope says (promise 2 of docs/architecture.md). Pure; works on header fields only, never on
 * parts of the body; never fails.
 *
 * - To and Cc keep the addressees that are in the envelope, each once, the first mention wins. A field that needs no
 *   change keeps its octets; others are written anew, several of one kind as one (RFC 5322 section 3.6 allows one, and
 *   some servers read one only). A field left without addressee goes.
 * - A field that lost an addressee, or text that cannot be read as one, stays readable as X-Original-To / X-Original-Cc.
 *   Those are copies of what the sender wrote for all to see, so they show no blind recipient.
 * - Bcc and Resent-Bcc go. Resent-To and Resent-Cc go too: some servers and clients read them as recipients, Exchange and
 *   Gromox do not pass them on, and a recipient only they name has to become a blind one.
 * - Envelope recipients that neither To nor Cc names are the blind ones. Trace fields that earlier servers wrote go if they
 *   name one (RFC 5321 section 7.2: `for`, Delivered-To and the like show what the sender did not).
 *
 * A field is also written anew when it holds more @ or commas than its addresses need (in names, comments, routes), or
 * text beside an address that could be part of it: another parser could find a recipient there that is in no envelope.
 * So is one with control characters, which some parsers stop at or skip, and copies of it show blanks in their place. A
 * bare CR, which some parsers take for a line end, becomes a space everywhere.
 */
import { canonicalAddress } from './address.ts';
import { mailboxesOf } from './addresses.ts';
import type { Mailbox } from './addresses.ts';
import { renderMailbox } from './display.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

export interface Addressed {
  readonly fields: readonly HeaderField[];
  /** Envelope recipients that no remaining field names, as the envelope writes them, each once. */
  readonly blind: readonly string[];
}

const VISIBLE = new Set(['to', 'cc', 'resent-to', 'resent-cc']);
const HIDDEN = new Set(['bcc', 'resent-bcc', 'resent-to', 'resent-cc']);
/** Fields into which servers write recipients of the envelope. */
const TRACE = new Set([
  'received',
  'delivered-to',
  'x-delivered-to',
  'envelope-to',
  'x-envelope-to',
  'apparently-to',
  'x-rcpt-to',
  'x-receiver',
]);

interface Kept {
  /** Where the field stands in the new header; later fields of the kind are merged into it. */
  readonly at: number;
  readonly mailboxes: Mailbox[];
  /** Octets to keep; undefined: write anew. */
  raw: HeaderField | undefined;
}

/** @param recipients addresses of the envelope */
export function applyEnvelope(header: readonly HeaderField[], recipients: readonly string[]): Addressed {
  const envelope = new Map<string, string>();
  for (const address of recipients) {
    const canonical = canonicalAddress(address);
    if (!envelope.has(canonical)) envelope.set(canonical, address);
  }
  const fields: (HeaderField | undefined)[] = [];
  const visible = new Set<string>();
  const kept = new Map<'to' | 'cc', Kept>();
  for (const raw of header) {
    const field = withoutBareCr(raw);
    if (HIDDEN.has(field.name)) continue;
    if (field.name !== 'to' && field.name !== 'cc') {
      fields.push(field);
      continue;
    }
    const hasControls = field.raw.some(isControl);
    const named = mailboxesOf(hasControls ? withoutControls(field) : field);
    const inEnvelope = named.filter(({ address }) => address !== '' && envelope.has(canonicalAddress(address)));
    const fresh = inEnvelope.filter(({ address }) => {
      const canonical = canonicalAddress(address);
      return !visible.has(canonical) && visible.add(canonical);
    });
    if (fresh.length > 0) {
      const before = kept.get(field.name);
      if (before) {
        before.mailboxes.push(...fresh);
        before.raw = undefined;
      } else {
        const isWhole =
          fresh.length === named.length &&
          !hasControls &&
          separators(field) < named.length &&
          atSigns(field.raw) === atSigns(Buffer.from(named.map(({ address }) => address).join())) &&
          standAlone(field, named);
        kept.set(field.name, { at: fields.length, mailboxes: fresh, raw: isWhole ? field : undefined });
        fields.push(undefined);
      }
    }
    if (inEnvelope.length < named.length || (named.length === 0 && !isEmptyGroup(field))) fields.push(original(field));
  }
  for (const [name, { at, mailboxes, raw }] of kept) {
    fields[at] = raw ?? headerField(name === 'to' ? 'To' : 'Cc', mailboxes.map(renderMailbox).join(', '));
  }
  const blind = new Map([...envelope].filter(([canonical]) => !visible.has(canonical)));
  return {
    fields: fields
      .filter((field) => field !== undefined)
      .filter((field) => !TRACE.has(field.name) || !names(field, blind)),
    blind: [...blind.values()],
  };
}

/**
 * For a way out that has an envelope of its own: To, Cc and all else stay as they were sent. Bcc goes, and so do trace
 * fields that name an envelope recipient whom To and Cc do not; a bare CR becomes a space.
 */
export function hideBlind(header: readonly HeaderField[], recipients: readonly string[]): readonly HeaderField[] {
  const blind = new Map(recipients.map((address) => [canonicalAddress(address), address]));
  const fields = header.map(withoutBareCr).filter(({ name }) => name !== 'bcc' && name !== 'resent-bcc');
  for (const field of fields) {
    if (!VISIBLE.has(field.name)) continue;
    for (const { address } of mailboxesOf(field)) blind.delete(canonicalAddress(address));
  }
  return fields.filter((field) => !TRACE.has(field.name) || !names(field, blind));
}

/** Whether the text holds one of these addresses, whatever the field's grammar. @param addresses by canonical form */
function names(field: HeaderField, addresses: ReadonlyMap<string, string>): boolean {
  if (addresses.size === 0) return false;
  // Some parsers skip control characters.
  const text = fieldValue(field).replace(/[^\P{Cc}\t]+/gu, '');
  // Taken apart at what an address cannot hold unquoted: one pass, however many addresses are looked for.
  if (text.split(/[\s<>(),;:"]+/).some((word) => isAmong(word, addresses))) return true;
  const lower = text.toLowerCase();
  return [...addresses.keys()].some((address) => /^"|:/.test(address) && lower.includes(address));
}

/** Whether an address ends at, or around, one of the word's @: `{a@x}`, `for=a@x` and `a@x|b` name a@x. */
function isAmong(word: string, addresses: ReadonlyMap<string, string>): boolean {
  const [first = '', ...others] = word.split('@');
  let before = first;
  for (const after of others) {
    const [domain = ''] = /^(?:\[[\w.:-]*\]?|[\p{L}\p{M}\p{N}._-]*[\p{L}\p{M}\p{N}])/u.exec(after) ?? [];
    // An = or { may be part of the local part, or not.
    const local = before.slice(-LONGEST_ADDRESS);
    for (let at = -1; at < local.length - 1; at++) {
      if (at >= 0 && !/[^\p{L}\p{M}\p{N}._+-]/u.test(local[at] ?? '')) continue;
      if (addresses.has(canonicalAddress(`${local.slice(at + 1)}@${domain}`))) return true;
    }
    before = after;
  }
  return false;
}

/** Characters; see isSendable(). */
const LONGEST_ADDRESS = 320;

const CR = 0x0d;
const LF = 0x0a;
const AT = 0x40;
const SPACE = 0x20;
const TAB = 0x09;
const DELETE = 0x7f;

function withoutBareCr(field: HeaderField): HeaderField {
  let at = field.raw.indexOf(CR);
  if (at < 0) return field;
  let raw: Buffer | undefined;
  for (; at >= 0; at = field.raw.indexOf(CR, at + 1)) {
    if (field.raw[at + 1] === LF) continue;
    raw ??= Buffer.from(field.raw);
    raw[at] = SPACE;
  }
  return raw === undefined ? field : { name: field.name, raw };
}

function isControl(octet: number): boolean {
  return (octet < SPACE && octet !== TAB && octet !== CR && octet !== LF) || octet === DELETE;
}

function withoutControls({ name, raw }: HeaderField): HeaderField {
  return { name, raw: Buffer.from(raw.filter((octet) => !isControl(octet))) };
}

/** To the end where quotes do not close: looked for from each quote anew, that would cost the square of the length. */
const QUOTED = /"(?:[^"\\]|\\.)*(?:"|\\?$)/gs;

/** Commas and semicolons outside of quotes: one too many (`Example, Alice <a@x>`) is a recipient of its own for some. */
function separators(field: HeaderField): number {
  const bare = fieldValue(field).replace(QUOTED, '');
  const count = bare.match(/[,;]/g)?.length ?? 0;
  return /^[^:;,<>]*:[^:;]*;$/.test(bare) ? count - 1 : count;
}

/**
 * Whether each address is all of its place in the list, comments aside: `<address>` with words before it, or the address
 * and nothing else. Of `a@x.test. com` some make a@x.test, some a@x.test.com.
 */
function standAlone(field: HeaderField, named: readonly Mailbox[]): boolean {
  const quoted: string[] = [];
  const bare = fieldValue(field)
    .replace(QUOTED, (text) => `"${quoted.push(text) - 1}"`)
    .replace(/\([^()\\]*\)/g, ' ');
  const last = quoted.at(-1);
  if (last !== undefined && !/^"(?:[^"\\]|\\.)*"$/s.test(last)) return false;
  const restored = (text: string): string => text.replace(/"(\d+)"/g, (_all, index) => quoted[Number(index)] ?? '');
  const addresses = new Set(named.map(({ address }) => address));
  return bare
    .split(/[,;:]/)
    .filter((place) => place.includes('@'))
    .every((place) => {
      const [, inBrackets = place.trim()] = /^[^<>@()\\]*<([^<>]*)>[ \t]*$/.exec(place) ?? [];
      return addresses.has(restored(inBrackets));
    });
}

function atSigns(octets: Buffer): number {
  let count = 0;
  for (let at = octets.indexOf(AT); at >= 0; at = octets.indexOf(AT, at + 1)) count++;
  return count;
}

/** Nothing, or a group without members such as `undisclosed-recipients:;`. */
function isEmptyGroup(field: HeaderField): boolean {
  // Written so that no two repetitions can share a run of blanks: it would cost the square of its length.
  return /^(?:[^@:;<>]*:(?:\s*;)?)?[\s,]*$/.test(fieldValue(field));
}

/** The same octets under another name, but for control characters: `To: ...` becomes `X-Original-To: ...`. */
function original({ name, raw }: HeaderField): HeaderField {
  const readable = raw.some(isControl) ? raw.map((octet) => (isControl(octet) ? SPACE : octet)) : raw;
  return { name: `x-original-${name}`, raw: Buffer.concat([Buffer.from('X-Original-'), readable]) };
}
