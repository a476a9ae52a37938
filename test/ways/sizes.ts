/** Messages at the limits of each way out, and one octet above them. */
import { base64Length } from '../../src/exchange/base64.ts';
import type { Otherwise } from './rows.ts';
import type { Ways } from './site.ts';
import { ANN, openWays, PEOPLE, SENDER } from './site.ts';

export const SIZE_WAYS = ['ews', 'graph', 'smtp'] as const;
export type SizeWay = (typeof SIZE_WAYS)[number];

export interface SizeRow {
  readonly what: string;
  /** Default: that of which nothing is limited but by the servers' usual limits. */
  readonly mailbox?: string;
  /** @param most octets of a message that the limit lets through */
  readonly message: (most: Most) => Buffer;
  readonly otherwise?: Partial<Record<SizeWay, Otherwise>>;
  readonly exchange?: string;
}

/** Octets of a message, by what bounds it. */
export interface Most {
  readonly request: number;
  readonly mailbox: number;
}

export const TIGHT = 'tight@contoso.test';
/** Of a mailbox, of requests of EWS, of SIZE: real ones of some ten megabytes would show no more. */
const MAILBOX = 100_000;
const EWS = 150_000;
const SMTP = 120_000;
/** Of a request of Graph with a whole message. */
const GRAPH = 4_000_000;

export async function openSmallWays(): Promise<Ways> {
  return await openWays({
    mailboxes: [...[SENDER, ...PEOPLE].map((address) => ({ address })), { address: TIGHT, maxSendSize: MAILBOX }],
    maxRequestSize: EWS,
    smtpSize: SMTP,
  });
}

/** Measured with a small message: how much the gateway adds. */
export async function mostOf(ways: Ways, way: SizeWay): Promise<Most> {
  const probe = ofSize(1000);
  const { arrival } = await ways.send(way, probe, [ANN]);
  const handed = arrival?.submitted.length ?? 0;
  const added = handed - probe.length;
  const request = {
    ews: Math.floor((EWS - (ways.ewsRequests.at(-1) ?? 0) + base64Length(handed)) / 4) * 3,
    graph: (GRAPH / 4) * 3,
    smtp: SMTP,
  }[way];
  return { request: request - added, mailbox: MAILBOX - added };
}

/** A message of exactly so many octets. */
export function ofSize(size: number, fields = '', from = SENDER): Buffer {
  const header = `From: ${from}\r\nTo: ${ANN}\r\n${fields}\r\n`;
  const line = `${'x'.repeat(76)}\r\n`;
  const left = size - header.length;
  const body = line.repeat(Math.floor((left - 2) / line.length));
  return Buffer.from(`${header}${body}${'y'.repeat(left - body.length - 2)}\r\n`);
}

const SIGNED = 'Content-Type: multipart/signed; boundary=s\r\n';
const attachment = (octets: number): Buffer => {
  const content = Buffer.alloc(octets, 'scan').toString('base64').replace(/.{76}/g, '$&\r\n');
  const type = 'Content-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64\r\n';
  return Buffer.from(`From: ${SENDER}\r\nTo: ${ANN}\r\n${type}\r\n${content}\r\n`);
};
const TOO_LARGE = { refused: '5.3.4' } as const;
const BY_DRAFT = { graph: { as: 'draft', words: 'yes, by a draft' } } as const;

/** In sandboxes with small limits for a mailbox, a request of EWS and SIZE of SMTP. */
export const SMALL_ROWS: readonly SizeRow[] = [
  {
    what: 'a message as large as one request may be',
    message: ({ request }) => ofSize(request),
    exchange: 'EWS: 64 MiB, which is 48 MiB of MIME; Graph: 4 MB, which is 3 MB of MIME; SMTP: the SIZE it announces',
  },
  {
    what: 'one octet more',
    message: ({ request }) => ofSize(request + 1),
    otherwise: { ews: TOO_LARGE, smtp: TOO_LARGE, ...BY_DRAFT },
  },
  {
    what: 'a signed message as large as one request may be',
    message: ({ request }) => ofSize(request, SIGNED),
  },
  {
    what: 'one octet more, signed',
    message: ({ request }) => ofSize(request + 1, SIGNED),
    otherwise: { ews: TOO_LARGE, graph: TOO_LARGE, smtp: TOO_LARGE },
  },
  {
    what: 'a message as large as the mailbox may send',
    mailbox: TIGHT,
    message: ({ mailbox }) => ofSize(mailbox, '', TIGHT),
    exchange: '35 MB, up to 150 MB by Set-Mailbox -MaxSendSize; what it counts is the message as it writes it',
  },
  {
    what: 'one octet more than the mailbox may send',
    mailbox: TIGHT,
    message: ({ mailbox }) => ofSize(mailbox + 1, '', TIGHT),
    otherwise: { ews: TOO_LARGE, graph: TOO_LARGE, smtp: TOO_LARGE },
  },
];

/** In a sandbox with the usual limits. */
export const USUAL_ROWS: readonly SizeRow[] = [
  { what: 'text of 3.8 MB', message: () => ofSize(3_800_000), otherwise: BY_DRAFT },
  { what: 'text of 4 MB', message: () => ofSize(4_000_000), otherwise: { graph: TOO_LARGE } },
  { what: 'a signed message of 4 MB', message: () => ofSize(4_000_000, SIGNED), otherwise: { graph: TOO_LARGE } },
  { what: 'an attachment of 2.1 MB', message: () => attachment(2_100_000) },
  {
    what: 'an attachment of 2,999,999 octets, the last that needs no upload session',
    message: () => attachment(2_999_999),
    otherwise: BY_DRAFT,
  },
  { what: 'an attachment of 3,000,000 octets', message: () => attachment(3_000_000), otherwise: BY_DRAFT },
  {
    what: 'an attachment of 12 MB',
    message: () => attachment(12_000_000),
    otherwise: BY_DRAFT,
    exchange: 'Graph: an attachment of 150 MB at most; 60 MB on every way: `npm run large`',
  },
];
