/**
 * Header fields in ASCII and in lines of at most 998 octets (RFC 5322 section 2.1.1): raw 8-bit text becomes encoded words
 * (RFC 2047), read as UTF-8 where it is valid UTF-8 and as Latin-1 where it is not; endless lines are folded. Fields that
 * need neither keep their octets. Pure; never fails. What cannot be written in ASCII at all, such as a UTF-8 local part,
 * stays as it is.
 */
import { asciiAddress, mailboxesOf } from './addresses.ts';
import type { Mailbox } from './addresses.ts';
import { encodedWords, renderMailbox } from './display.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

const LINE_LIMIT = 998;
const LF = 0x0a;

const ADDRESSES = new Set(
  'from sender reply-to to cc bcc resent-from resent-sender resent-to resent-cc disposition-notification-to return-receipt-to errors-to'.split(
    ' ',
  ),
);
/** Structured, and without a place for encoded words. */
const TOKENS = new Set(
  'received return-path date message-id in-reply-to references mime-version content-transfer-encoding content-id'.split(
    ' ',
  ),
);
const PARAMETERS = new Set(['content-type', 'content-disposition']);
const NOT_ASCII = /[^ -~\t]/;

/** @returns the field itself where nothing is wrong with it */
export function asciiField(field: HeaderField): HeaderField {
  const is8Bit = field.raw.some((octet) => octet > 0x7f);
  if (!is8Bit && !isTooLong(field.raw)) return field;
  const written = headerField(titleOf(field), valueOf(field));
  // One word without an end: encoded, it can be folded.
  const isFree = !ADDRESSES.has(field.name) && !TOKENS.has(field.name) && !PARAMETERS.has(field.name);
  return isFree && isTooLong(written.raw) ? headerField(titleOf(field), encodedWords(textOf(field))) : written;
}

/** As the field writes its name. */
export function titleOf(field: HeaderField): string {
  return field.raw.toString('latin1', 0, field.raw.indexOf(0x3a)).trim();
}

function valueOf(field: HeaderField): string {
  const text = textOf(field);
  if (ADDRESSES.has(field.name)) return mailboxesOf(field).map(written).join(', ');
  if (TOKENS.has(field.name)) return text.replace(/[^ -~\t]/g, '?');
  return PARAMETERS.has(field.name) ? encodedParameters(text) : encodedRuns(text);
}

/** Runs of words that need it become encoded words, with the blanks inside: readers drop those between encoded words. */
function encodedRuns(text: string): string {
  const pieces = text.split(/([ \t]+)/);
  let out = '';
  let run = '';
  // Blanks after the run; part of it only if it goes on.
  let blanks = '';
  for (const [index, piece] of pieces.entries()) {
    if (index % 2 === 1) blanks = piece;
    else if (NOT_ASCII.test(piece)) {
      if (run === '') out += blanks;
      run = run === '' ? piece : run + blanks + piece;
      blanks = '';
    } else {
      out += run === '' ? blanks + piece : `${encodedWords(run)}${blanks}${piece}`;
      run = '';
      blanks = '';
    }
  }
  return run === '' ? out + blanks : `${out}${encodedWords(run)}${blanks}`;
}

/** Inside the quotes of a parameter, where no standard allows it and every mail program reads it. */
function encodedParameters(text: string): string {
  return text
    .split(/(["';=])/)
    .map((piece) => {
      if (!NOT_ASCII.test(piece)) return piece;
      const inner = piece.trim();
      const at = piece.indexOf(inner);
      return `${piece.slice(0, at)}${encodedWords(inner)}${piece.slice(at + inner.length)}`;
    })
    .join('');
}

/** Text that names no address stays readable. */
function written(mailbox: Mailbox): string {
  const { name, address } = mailbox;
  return address === ''
    ? renderMailbox(mailbox).replace(/ <>$/, '')
    : renderMailbox({ name, address: asciiAddress(address) });
}

/** On one line, without control characters. */
function textOf(field: HeaderField): string {
  // oxlint-disable-next-line no-control-regex -- those go
  return fieldValue(field).replace(/[\x00-\x08\x0a-\x1f\x7f]/g, ' ');
}

function isTooLong(raw: Buffer): boolean {
  for (let start = 0; start < raw.length;) {
    const lf = raw.indexOf(LF, start);
    const end = lf < 0 ? raw.length : lf;
    if (end - start > LINE_LIMIT + 1) return true;
    start = end + 1;
  }
  return false;
}
