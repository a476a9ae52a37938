/**
 * Header fields in ASCII and in lines of at most 998 octets (RFC 5322 section 2.1.1): raw 8-bit text becomes encoded words
 * (RFC 2047), read as UTF-8 where it is valid UTF-8 and as Latin-1 where it is not; endless lines are folded. Fields that
 * need neither keep their octets. Pure; never fails. What cannot be written in ASCII at all, such as a UTF-8 local part,
 * stays as it is.
 */
import { isAscii } from 'node:buffer';
import { asciiAddress } from './address.ts';
import { mailboxesOf } from './addresses.ts';
import type { Mailbox } from './addresses.ts';
import { encodedWords, renderMailbox } from './display.ts';
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

const LINE_LIMIT = 998;
const LF = 0x0a;

const ADDRESSES = new Set(
  'from sender reply-to to cc bcc resent-from resent-sender resent-reply-to resent-to resent-cc resent-bcc disposition-notification-to return-receipt-to errors-to'.split(
    ' ',
  ),
);
/** Structured, and without a place for encoded words. */
const TOKENS = new Set(
  'received return-path date message-id in-reply-to references resent-date resent-message-id mime-version content-transfer-encoding content-id'.split(
    ' ',
  ),
);
const PARAMETERS = new Set(['content-type', 'content-disposition']);
const NOT_ASCII = /[^ -~\t]/;
/** Of a word that is encoded already; readers find it wherever it stands. */
const ENCODED = /(=\?[\w*-]+\?[bq]\?[^?]*\?=)/i;
/** No line has room for more without a blank. */
const WORD_LIMIT = 900;

/** @returns the field itself where nothing is wrong with it, or where it is no field */
export function asciiField(field: HeaderField): HeaderField {
  if (field.name === '' || (isAscii(field.raw) && !isTooLong(field.raw))) return field;
  return headerField(titleOf(field), valueOf(field));
}

/** As the field writes its name. */
export function titleOf(field: HeaderField): string {
  return field.raw.toString('latin1', 0, field.raw.indexOf(0x3a)).trim();
}

function valueOf(field: HeaderField): string {
  const text = textOf(field);
  if (ADDRESSES.has(field.name)) return addresses(field, text);
  if (TOKENS.has(field.name)) return text.replace(/[^ -~\t]/g, '?');
  return PARAMETERS.has(field.name) ? encodedParameters(text) : encodedRuns(text);
}

/**
 * Runs of words that need it become encoded words, with the blanks inside, and with those between them and a word that
 * was encoded before: readers drop blanks between encoded words (RFC 2047 section 6.2).
 */
function encodedRuns(text: string): string {
  const tokens = text.split(ENCODED).flatMap((piece, index) => (index % 2 === 1 ? [piece] : piece.split(/([ \t]+)/)));
  let out = '';
  let isBehindEncoded = false;
  let run = '';
  let blanks = '';
  /** @param isEncoded what follows the run */
  const endRun = (isEncoded: boolean): void => {
    if (run !== '') {
      out += encodedWords(isEncoded ? run + blanks : run);
      blanks = isEncoded ? ' ' : blanks;
    }
    out += blanks;
    run = blanks = '';
  };
  for (const token of tokens) {
    if (token === '') continue;
    const isEncoded = ENCODED.test(token);
    if (/^[ \t]/.test(token)) blanks += token;
    else if (!isEncoded && (NOT_ASCII.test(token) || token.length > WORD_LIMIT)) {
      if (run !== '' || isBehindEncoded) {
        if (run === '') out += ' ';
        run += blanks + token;
      } else {
        out += blanks;
        run = token;
      }
      blanks = '';
    } else {
      endRun(isEncoded);
      out += token;
      isBehindEncoded = isEncoded;
    }
  }
  endRun(false);
  return out;
}

/** In quotes, where no standard allows encoded words and every mail program reads them. */
function encodedParameters(text: string): string {
  return text
    .split(/("(?:[^"\\]|\\.)*(?:"|\\?$)|[;=])/s)
    .map((piece, index, pieces) => {
      if (!NOT_ASCII.test(piece)) return piece;
      if (piece.startsWith('"'))
        return `"${encodedWords(
          piece
            .slice(1)
            .replace(/\\?"$|\\$/, '')
            .replace(/\\(.)/gs, '$1'),
        )}"`;
      if (pieces[index - 1] !== '=') return piece.replace(/[^ -~\t]/g, '?');
      const [, before = '', value = '', after = ''] = /^([ \t]*)(.*[^ \t])([ \t]*)$/s.exec(piece) ?? [];
      return `${before}"${encodedWords(value)}"${after}`;
    })
    .join('');
}

/** Names exactly those the field named. */
function addresses(field: HeaderField, text: string): string {
  const mailboxes = mailboxesOf(field).filter(({ name, address }) => name !== '' || address !== '');
  if (mailboxes.length > 0) return mailboxes.map(written).join(', ');
  // A group without anybody, such as `undisclosed-recipients:;`, or nothing that can be read: it goes on naming nobody.
  const colon = text.indexOf(':');
  const isGroup = colon > 0 && text.endsWith(';');
  const shown = (isGroup ? text.slice(0, colon) : text).trim();
  return `${shown === '' ? '' : encodedWords(shown)}${isGroup ? ':;' : ''}`;
}

/** Text that names no address stays readable, and names none. */
function written({ name, address }: Mailbox): string {
  if (address !== '') return renderMailbox({ name, address: asciiAddress(address) });
  // Readers take an @ in quotes for an address.
  return name.includes('@') ? encodedWords(name) : renderMailbox({ name, address }).replace(/ <>$/, '');
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
