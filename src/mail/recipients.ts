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
 * - Envelope recipients that neither To nor Cc names are the blind ones.
 *
 * A field is also written anew when it holds more @ than its addresses do (in names, comments, routes): another parser could
 * find a recipient there that is in no envelope. A bare CR, which some parsers take for a line end, becomes a space.
 */
import { canonicalAddress, parseHeader } from './addresses.ts';
import type { Mailbox } from './addresses.ts';
import { renderMailbox } from './display.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

export interface Addressed {
  readonly fields: readonly HeaderField[];
  /** Envelope recipients that no remaining field names, as the envelope writes them, each once. */
  readonly blind: readonly string[];
}

const HIDDEN = new Set(['bcc', 'resent-bcc', 'resent-to', 'resent-cc']);

interface Kept {
  /** Where the field stands in the new header; later fields of the kind are merged into it. */
  readonly at: number;
  readonly mailboxes: Mailbox[];
  /** Octets to keep; undefined: write anew. */
  raw: HeaderField | undefined;
}

/** @param recipients addresses of the envelope */
export async function applyEnvelope(header: readonly HeaderField[], recipients: readonly string[]): Promise<Addressed> {
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
    const named = (await parseHeader([field]))[field.name];
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
          atSigns(field.raw) === atSigns(Buffer.from(named.map(({ address }) => address).join()));
        kept.set(field.name, { at: fields.length, mailboxes: fresh, raw: isWhole ? field : undefined });
        fields.push(undefined);
      }
    }
    if (inEnvelope.length < named.length || (named.length === 0 && !isEmptyGroup(field))) fields.push(original(field));
  }
  for (const [name, { at, mailboxes, raw }] of kept) {
    fields[at] = raw ?? headerField(name === 'to' ? 'To' : 'Cc', mailboxes.map(renderMailbox).join(', '));
  }
  return {
    fields: fields.filter((field) => field !== undefined),
    blind: [...envelope].filter(([canonical]) => !visible.has(canonical)).map(([, address]) => address),
  };
}

const CR = 0x0d;
const LF = 0x0a;
const AT = 0x40;
const SPACE = 0x20;

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

/** The same octets under another name: `To: ...` becomes `X-Original-To: ...`. */
function original({ name, raw }: HeaderField): HeaderField {
  return { name: `x-original-${name}`, raw: Buffer.concat([Buffer.from('X-Original-'), raw]) };
}
