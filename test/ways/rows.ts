/**
 * Messages of every kind, what of each is looked at when a reader has it, and where a way out is known not to keep it. The
 * rows of the tables in docs/transports.md. What cannot be kept is an expectation like any other: `lost`, refused, or
 * changed into something that stands here.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { AddressObject } from 'mailparser';
import { expect } from 'vitest';
import { parseHeader } from '../../src/mail/addresses.ts';
import { encodedWords } from '../../src/mail/display.ts';
import { splitHeader } from '../../src/mail/header.ts';
import { decodeWords } from '../../src/mail/mime.ts';
import { bodyAt } from '../exchange/sandbox-site.ts';
import type { Copy, SendOptions, Way } from './site.ts';
import { ANN, BOB, fieldsOf, SENDER } from './site.ts';

export type Otherwise =
  | 'lost'
  /** Enhanced status code of the refusal. */
  | { readonly refused: string }
  /** What becomes of it, and in the words of the table. */
  | { readonly as: unknown; readonly words: string };

export interface Row {
  readonly group: 'Envelope' | 'Header' | 'Text and attachments' | 'Signed and encrypted' | 'Sent Items';
  readonly what: string;
  readonly message: Buffer;
  /** Default: Ann alone. */
  readonly recipients?: readonly string[];
  readonly options?: SendOptions;
  /** Or a promise of it. undefined, '' and an empty list: there is nothing of it. */
  readonly look: (copy: Copy) => unknown;
  /** Default: what the message itself says. */
  readonly wanted?: unknown;
  readonly otherwise?: Partial<Record<Way, Otherwise>>;
  /** What Exchange Online does with what it is handed, by its documentation: nothing here can try that. */
  readonly exchange?: string;
  /** Exchange does something else with it than it is asked to, so that what it is handed is no promise. */
  readonly isRemade?: boolean;
}

const sha256 = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');

/** A plain message. @param fields each with its line end */
function plain(fields: string, body = 'Hello\r\n'): Buffer {
  return Buffer.from(`${/^From:/im.test(fields) ? '' : `From: ${SENDER}\r\n`}${fields}\r\n${body}`);
}

function typed(type: string, body: string, fields = `To: ${ANN}\r\n`): Buffer {
  return plain(`${fields}MIME-Version: 1.0\r\nContent-Type: ${type}\r\n`, body);
}

function mixed(...parts: readonly string[]): Buffer {
  const text = 'Content-Type: text/plain\r\n\r\ntext\r\n';
  const body = [text, ...parts].map((part) => `--m\r\n${part}`).join('');
  return typed('multipart/mixed; boundary=m', `${body}--m--\r\n`);
}

const addresses =
  (which: 'to' | 'cc' | 'from' | 'replyTo') =>
  ({ mail }: Copy): unknown =>
    [mail[which] ?? []].flat().flatMap(({ value }: AddressObject) => value);
const one =
  (name: string) =>
  (copy: Copy): string | undefined =>
    copy.fields(name)[0];
const several =
  (...names: readonly string[]) =>
  (copy: Copy): unknown => {
    const found = names.flatMap((name) => copy.fields(name).map((value) => `${name}: ${value}`));
    return found;
  };
const files = ({ mail }: Copy): unknown =>
  mail.attachments.map(({ filename, contentType, cid, related, content }) => ({
    ...(filename === undefined ? {} : { name: filename }),
    type: contentType,
    ...(cid === undefined ? {} : { cid }),
    isRelated: related === true,
    content: content.toString('latin1').trim(),
  }));
const octets = ({ body }: Copy): string => sha256(body);
/** With a line end at its end, as what came by SMTP always has. */
const sealed = (kind: string): Buffer => {
  const message = readFileSync(new URL(`../exchange/sealed/${kind}.eml`, import.meta.url));
  return message.subarray(-2).equals(Buffer.from('\r\n')) ? message : Buffer.concat([message, Buffer.from('\r\n')]);
};

const PICTURE = 'iVBORw0KGgo=';
const INVITATION = 'BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n';
const INNER = `From: x@x.test\r\nTo: y@y.test\r\nSubject: inner\r\nContent-Type: text/plain\r\n\r\ninner text\r\n`;
const SIGNED_PART =
  'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=sha-256; boundary=s\r\n\r\n' +
  '--s\r\nContent-Type: text/plain\r\n\r\nsigned  text \r\n--s\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n' +
  'Content-Transfer-Encoding: base64\r\n\r\nMIIB\r\n--s--\r\n';
const SEVEN = [1, 2, 3, 4, 5, 6, 7].map((n) => `x-own-${n}`);
/** The 255th character is the first half of one that takes two. */
const LONG_SUBJECT = `${'x'.repeat(254)}📠 more`;
const LONG_NAME = 'n'.repeat(230);
const TOO_LARGE_IN_A_DRAFT: Row['otherwise'] = { draft: { refused: '5.3.4' } };

export const ROWS: readonly Row[] = [
  {
    group: 'Envelope',
    what: 'recipients that no header field names, hidden',
    message: plain(`To: ${ANN}\r\nBcc: ${BOB}\r\n`),
    recipients: [ANN, BOB],
    look: (copy) => (copy.mime.includes(BOB) ? 'shown' : 'hidden'),
    wanted: 'hidden',
    exchange: 'EWS and Graph: writes To and Cc from its list of recipients and shows no Bcc',
  },
  {
    group: 'Envelope',
    what: 'To and Cc with recipients that the envelope has not',
    message: plain(`To: Ann <${ANN}>, Else <else@elsewhere.test>\r\nCc: more@elsewhere.test\r\n`),
    look: several('to', 'cc', 'x-original-to', 'x-original-cc'),
    otherwise: Object.fromEntries(
      (['ews', 'graph', 'draft'] as const).map((way) => [
        way,
        {
          as: [
            `to: Ann <${ANN}>`,
            `x-original-to: Ann <${ANN}>, Else <else@elsewhere.test>`,
            'x-original-cc: more@elsewhere.test',
          ],
          words: 'left out; all of it in `X-Original-To`, `X-Original-Cc`',
        },
      ]),
    ),
    exchange: 'EWS and Graph: delivers to everybody whom To and Cc name, so nobody else may stand there',
  },
  {
    group: 'Envelope',
    what: 'reverse-path (also `<>`)',
    message: plain(`To: ${ANN}\r\n`),
    options: { envelope: { reversePath: '' } },
    look: ({ envelope }) => envelope && /^FROM:(\S+)/.exec(envelope.mail)?.[1],
    wanted: '<>',
    otherwise: { ews: 'lost', graph: 'lost', draft: 'lost' },
    exchange: 'EWS and Graph: the sending mailbox',
  },
  {
    group: 'Envelope',
    what: 'DSN: NOTIFY, ORCPT, RET, ENVID',
    message: plain(`To: ${ANN}\r\n`),
    recipients: [],
    options: {
      envelope: {
        recipients: [{ address: ANN, notify: ['success'], originalRecipient: 'rfc822;a@x.test' }],
        ret: 'headers',
        envelopeId: 'e1',
      },
    },
    look: ({ envelope }) =>
      envelope && `${envelope.mail} ${envelope.recipients.join()}`.replace(/ (?:SIZE|BODY)=\S+/g, ''),
    wanted: `FROM:<${SENDER}> RET=HDRS ENVID=e1 TO:<${ANN}> NOTIFY=SUCCESS ORCPT=rfc822;a@x.test`,
    otherwise: { ews: 'lost', graph: 'lost', draft: 'lost' },
  },
  {
    group: 'Header',
    what: 'To, Cc with names (RFC 2047, commas)',
    message: plain(
      `To: =?utf-8?Q?Anna_Gr=C3=BCn?= <${ANN}>\r\nCc: "Builder, Bob" <${BOB}>,\r\n =?iso-8859-1?Q?J=FCrgen?= <j@elsewhere.test>\r\n`,
    ),
    recipients: [ANN, BOB, 'j@elsewhere.test'],
    look: (copy) => [addresses('to')(copy), addresses('cc')(copy)],
  },
  {
    group: 'Header',
    what: 'To as a group (`Team: a, b;`)',
    message: plain(`To: Team: ${ANN}, ${BOB};\r\n`),
    recipients: [ANN, BOB],
    look: addresses('to'),
    otherwise: {
      draft: { as: [ANN, BOB].map((address) => ({ address, name: '' })), words: 'its members' },
    },
  },
  {
    group: 'Header',
    what: '`undisclosed-recipients:;`',
    message: plain('To: undisclosed-recipients:;\r\n'),
    look: one('to'),
    otherwise: { ews: 'lost', graph: 'lost', draft: 'lost' },
  },
  {
    group: 'Header',
    what: 'From with its name, Sender',
    message: plain(`From: =?utf-8?Q?B=C3=BCro?= <${SENDER}>\r\nSender: Scanner <${SENDER}>\r\nTo: ${ANN}\r\n`),
    look: (copy) => [addresses('from')(copy), one('sender')(copy)],
    isRemade: true,
    exchange: 'needs Send As for another address than that of the mailbox; the name may become that of the directory',
  },
  {
    group: 'Header',
    what: 'Reply-To',
    message: plain(`To: ${ANN}\r\nReply-To: "Desk, Help" <help@elsewhere.test>, two@elsewhere.test\r\n`),
    look: addresses('replyTo'),
    exchange: 'kept',
  },
  {
    group: 'Header',
    what: 'Subject (RFC 2047)',
    message: plain(
      `To: ${ANN}\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n =?utf-8?Q?_aus_M=C3=BCnchen_=F0=9F=93=A0?=\r\n`,
    ),
    look: ({ mail }) => mail.subject,
  },
  {
    group: 'Header',
    what: 'Subject above 255 characters',
    message: plain(`To: ${ANN}\r\nSubject: ${encodedWords(LONG_SUBJECT)}\r\n`),
    look: ({ mail }) => mail.subject,
    otherwise: { draft: { as: 'x'.repeat(254), words: 'cut there' } },
    isRemade: true,
    exchange: 'EWS and Graph: stores 255 characters',
  },
  {
    group: 'Header',
    what: 'names and Subject in raw UTF-8 (SMTPUTF8)',
    message: plain(`To: Jürgen Grün <${ANN}>\r\nSubject: Grüße 📠\r\n`),
    options: { envelope: { smtpUtf8: true } },
    look: async ({ mime }) => {
      const { to, subject } = await parseHeader(splitHeader(mime.subarray(0, bodyAt(mime))));
      return [to.map(({ name, address }) => `${name} <${address}>`), subject];
    },
    wanted: [[`Jürgen Grün <${ANN}>`], 'Grüße 📠'],
  },
  {
    group: 'Header',
    what: 'Message-ID',
    message: plain(`To: ${ANN}\r\nMessage-ID: <"odd id"@app.test>\r\n`),
    look: one('message-id'),
    exchange: 'kept',
  },
  {
    group: 'Header',
    what: 'References, In-Reply-To',
    message: plain(`To: ${ANN}\r\nIn-Reply-To: <b@x.test>\r\nReferences: <a@x.test>\r\n <b@x.test>\r\n`),
    look: several('in-reply-to', 'references'),
    exchange: 'kept',
  },
  {
    group: 'Header',
    what: 'Date, also one in the past',
    message: plain(`To: ${ANN}\r\nDate: Sat, 29 Feb 2020 12:00:00 +0100\r\n`),
    look: one('date'),
    otherwise: { draft: 'lost' },
    isRemade: true,
    exchange: 'EWS and Graph: the time of sending, whatever it is handed',
  },
  {
    group: 'Header',
    what: 'Importance',
    message: plain(`To: ${ANN}\r\nImportance: high\r\n`),
    look: one('importance'),
    exchange: 'kept as a property (`ews`, `graph` above); from MIME alone not surely',
  },
  {
    group: 'Header',
    what: 'Disposition-Notification-To, Return-Receipt-To',
    message: plain(`To: ${ANN}\r\nDisposition-Notification-To: r@x.test\r\nReturn-Receipt-To: r@x.test\r\n`),
    look: several('disposition-notification-to', 'return-receipt-to'),
    otherwise: {
      draft: {
        as: [`disposition-notification-to: ${SENDER}`, `return-receipt-to: ${SENDER}`],
        words: 'asked for, to the sending mailbox',
      },
    },
    isRemade: true,
    exchange: 'EWS and Graph: receipts go to the sending mailbox, whatever the field names',
  },
  {
    group: 'Header',
    what: 'X- fields of `carryHeaders`',
    message: plain(`To: ${ANN}\r\nX-Tag: =?utf-8?Q?Gr=C3=BCn?= 1\r\n`),
    look: async (copy) => await decodeWords(one('x-tag')(copy) ?? ''),
    exchange: 'kept',
  },
  {
    group: 'Header',
    what: 'other X- fields, seven of them',
    message: plain(`To: ${ANN}\r\n${SEVEN.map((name) => `${name}: 1\r\n`).join('')}`),
    look: several(...SEVEN),
    otherwise: { draft: { as: SEVEN.slice(0, 5).map((name) => `${name}: 1`), words: 'the first five' } },
    isRemade: true,
    exchange: 'EWS and Graph, of MIME: the first message of a mailbox with a new name can lose the field',
  },
  {
    group: 'Header',
    what: 'Auto-Submitted, Precedence, List-*',
    message: plain(`To: ${ANN}\r\nAuto-Submitted: auto-generated\r\nPrecedence: bulk\r\nList-Id: <l.x.test>\r\n`),
    look: several('auto-submitted', 'precedence', 'list-id'),
    otherwise: { draft: 'lost' },
    isRemade: true,
    exchange: 'EWS and Graph: lost, from MIME too',
  },
  {
    group: 'Header',
    what: 'Received',
    message: plain(`Received: from a.test by b.test; Sat, 29 Feb 2020 12:00:00 +0100\r\nTo: ${ANN}\r\n`),
    look: ({ mime, handed = mime }) => fieldsOf(handed, 'received'),
    otherwise: { draft: 'lost' },
    isRemade: true,
    exchange: 'EWS and Graph: lost',
  },
  {
    group: 'Text and attachments',
    what: 'plain text in 8 bit, UTF-8 and ISO 8859-1',
    message: Buffer.concat([
      typed('multipart/mixed; boundary=m', ''),
      Buffer.from(
        '--m\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße 📠\r\n',
      ),
      Buffer.from('--m\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\u00fc\u00dfe\r\n--m--\r\n', 'latin1'),
    ]),
    look: ({ mail }) => mail.text?.split(/\s+/).filter((word) => word !== ''),
  },
  {
    group: 'Text and attachments',
    what: 'no body at all',
    message: plain(`To: ${ANN}\r\nSubject: empty\r\n`, ''),
    look: ({ mail }) => `text of ${(mail.text ?? '').trim().length} characters`,
  },
  {
    group: 'Text and attachments',
    what: 'text and HTML',
    message: typed(
      'multipart/alternative; boundary=a',
      '--a\r\nContent-Type: text/plain\r\n\r\nplain\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Grüße</p>\r\n--a--\r\n',
    ),
    look: ({ mail }) => ({ text: mail.text?.trim() ?? '', html: String(mail.html).trim() }),
    otherwise: {
      draft: { as: { text: '', html: '<p>Grüße</p>' }, words: 'HTML' },
    },
    exchange: 'EWS and Graph: makes the plain alternative of the HTML itself',
  },
  {
    group: 'Text and attachments',
    what: 'pictures in the text (Content-ID)',
    message: typed(
      'multipart/related; boundary=r',
      '--r\r\nContent-Type: text/html\r\n\r\n<img src="cid:pic@x">\r\n' +
        `--r\r\nContent-Type: image/png; name=p.png\r\nContent-ID: <pic@x>\r\nContent-Disposition: inline; filename=p.png\r\n` +
        `Content-Transfer-Encoding: base64\r\n\r\n${PICTURE}\r\n--r--\r\n`,
    ),
    look: ({ mail }) => [
      String(mail.html).trim(),
      ...mail.attachments.map(({ filename, cid, contentType, contentDisposition, content }) => [
        filename,
        cid,
        contentType,
        contentDisposition,
        content.toString('base64'),
      ]),
    ],
  },
  {
    group: 'Text and attachments',
    what: 'attachments: octets, types, names (RFC 2231, RFC 2047)',
    message: mixed(
      `Content-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe%20aus%20M%C3%BCnchen.pdf\r\n` +
        'Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n',
      'Content-Type: image/tiff; name="=?utf-8?B?ZsOkeC50aWY=?="\r\nContent-Disposition: attachment;\r\n filename="=?utf-8?B?ZsOkeC50aWY=?="\r\n' +
        'Content-Transfer-Encoding: base64\r\n\r\nSUkqAA==\r\n',
      "Content-Type: application/zip\r\nContent-Disposition: attachment; filename*0*=iso-8859-1''%E4;\r\n filename*1*=%F6; filename*2=.zip\r\n" +
        'Content-Transfer-Encoding: base64\r\n\r\nUEsFBg==\r\n',
    ),
    look: files,
  },
  {
    group: 'Text and attachments',
    what: 'names of attachments above 200 characters',
    message: mixed(
      `Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=${LONG_NAME}.pdf\r\n` +
        'Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n',
    ),
    look: ({ mail }) => mail.attachments.map(({ filename }) => filename),
    otherwise: { draft: { as: [`${'n'.repeat(196)}.pdf`], words: 'cut before their ending' } },
  },
  {
    group: 'Text and attachments',
    what: 'attached messages (message/rfc822)',
    message: mixed(`Content-Type: message/rfc822\r\n\r\n${INNER}`),
    look: files,
    otherwise: {
      draft: {
        as: [{ name: 'attachment-1.eml', type: 'message/rfc822', isRelated: false, content: INNER.trim() }],
        words: 'as files (`.eml`)',
      },
    },
  },
  {
    group: 'Text and attachments',
    what: 'attached text files, also without a disposition',
    message: mixed(
      'Content-Type: text/plain; charset=iso-8859-1; name=a.txt\r\nContent-Disposition: attachment; filename=a.txt\r\n' +
        'Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n',
      'Content-Type: text/csv; name=b.csv\r\nContent-Transfer-Encoding: base64\r\n\r\nYTtiO+Q=\r\n',
    ),
    look: files,
  },
  {
    group: 'Text and attachments',
    what: 'delivery reports (multipart/report)',
    message: typed(
      'multipart/report; report-type=delivery-status; boundary=r',
      '--r\r\nContent-Type: text/plain\r\n\r\nfailed\r\n--r\r\nContent-Type: message/delivery-status\r\n\r\n' +
        'Reporting-MTA: dns; a.test\r\n\r\nFinal-Recipient: rfc822; x@x.test\r\nAction: failed\r\nStatus: 5.1.1\r\n' +
        '--r\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: x\r\n--r--\r\n',
    ),
    look: ({ mime }) => [...mime.toString('latin1').matchAll(/^Content-Type: ([\w/.-]+)/gim)].map(([, type]) => type),
    otherwise: {
      draft: {
        as: ['multipart/mixed', 'text/plain', 'message/delivery-status', 'text/rfc822-headers'],
        words: 'its parts as files',
      },
    },
    exchange: 'not documented',
  },
  {
    group: 'Text and attachments',
    what: 'calendar invitations',
    message: typed(
      'multipart/alternative; boundary=a',
      `--a\r\nContent-Type: text/plain\r\n\r\nplain\r\n--a\r\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\n${INVITATION}--a--\r\n`,
    ),
    look: files,
    otherwise: {
      draft: {
        as: [{ name: 'attachment-1.ics', type: 'text/calendar', isRelated: false, content: INVITATION.trim() }],
        words: 'as an attached `.ics`',
      },
    },
  },
  {
    group: 'Text and attachments',
    what: 'lines of 20,000 characters',
    message: plain(`To: ${ANN}\r\nContent-Type: text/plain\r\n`, `${'word '.repeat(4000)}\r\nend\r\n`),
    look: ({ mail }) => mail.text?.trim(),
  },
  {
    group: 'Text and attachments',
    what: 'the body octet for octet (encodings, boundaries, preamble)',
    message: typed(
      'multipart/mixed; boundary="b  1"',
      'preamble\r\n--b  1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n.dot=20=\r\n\r\n--b  1--\r\nepilogue\r\n',
    ),
    look: octets,
    otherwise: { draft: { as: expect.stringMatching(/^[0-9a-f]{64}$/), words: 'written anew' } },
    isRemade: true,
    exchange: 'EWS and Graph: takes what it is handed apart and writes it anew for the reader',
  },
  ...(
    [
      ['S/MIME signed (multipart/signed)', 'smime-signed'],
      ['S/MIME signed (application/pkcs7-mime)', 'smime-opaque'],
      ['S/MIME encrypted', 'smime-encrypted'],
      ['PGP/MIME signed', 'pgp-signed'],
      ['PGP/MIME encrypted', 'pgp-encrypted'],
    ] as const
  ).map(([what, kind]): Row => ({
    group: 'Signed and encrypted',
    what,
    message: sealed(kind),
    recipients: ['alice@contoso.test', ANN],
    look: octets,
    otherwise: TOO_LARGE_IN_A_DRAFT,
    exchange: kind.startsWith('smime') ? 'kept in one piece (MS-OXOSMIME)' : 'not documented',
  })),
  {
    group: 'Signed and encrypted',
    what: 'a signed part inside of another message',
    message: mixed(SIGNED_PART),
    look: ({ mime }) => (mime.includes(SIGNED_PART) ? 'whole' : undefined),
    otherwise: { draft: 'lost' },
    exchange: 'not documented',
  },
  {
    group: 'Signed and encrypted',
    what: 'DKIM-Signature of the sender',
    message: plain(`DKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=x; b=y\r\nTo: ${ANN}\r\n`),
    look: one('dkim-signature'),
    otherwise: { draft: 'lost' },
    isRemade: true,
    exchange: 'EWS and Graph: broken, because the message is written anew; Exchange Online signs it itself',
  },
  {
    group: 'Sent Items',
    what: 'a copy (`saveToSentItems: true`)',
    message: plain(`To: ${ANN}\r\n`),
    look: ({ kept }) => kept,
    wanted: 1,
    otherwise: { smtp: { as: 0, words: 'no' } },
    exchange: 'SMTP: whether one is kept is a matter of the mailbox, not of the gateway',
  },
  {
    group: 'Sent Items',
    what: 'no copy (`saveToSentItems: false`)',
    message: plain(`To: ${ANN}\r\n`),
    options: { saveToSentItems: false },
    look: ({ kept }) => kept,
    wanted: 0,
    otherwise: { draft: { as: 1, words: 'a copy all the same' } },
  },
  {
    group: 'Sent Items',
    what: 'no copy of signed mail (`saveToSentItems: false`)',
    message: sealed('smime-signed'),
    options: { saveToSentItems: false },
    look: ({ kept }) => kept,
    wanted: 0,
    otherwise: { graph: { as: 1, words: 'a copy all the same' }, draft: { refused: '5.3.4' } },
  },
];
