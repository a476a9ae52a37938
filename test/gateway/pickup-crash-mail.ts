/** The mails of the crash test of pickup: of every sort that a pickup treats in its own way. */
import { createHash } from 'node:crypto';
import type { IncomingMail } from '../../src/sandbox/incoming.ts';

/** What a mail is, and the folder in which the rules leave it. */
export const PLACES = {
  plain: 'Processed',
  large: 'Processed',
  nobody: 'Processed',
  refused: 'Refused',
  meeting: 'Inbox',
  poison: 'Quarantine',
} as const;
export type Sort = keyof typeof PLACES;
export const HANDED_OVER: ReadonlySet<Sort> = new Set(['plain', 'large', 'nobody']);

const SHARES: readonly (readonly [Sort, number])[] = [
  ['refused', 0.08],
  ['meeting', 0.05],
  ['nobody', 0.05],
  ['poison', 0.03],
  ['large', 0.03],
];
/** Domain of those who may not send. */
export const BLOCKED = 'blocked.test';

export interface Fed {
  /** Message-ID, with its angle brackets. */
  readonly id: string;
  readonly sort: Sort;
  readonly from: string;
  /** Digest of the body. */
  readonly digest: string;
  readonly mail: IncomingMail;
}

export const digest = (octets: string | Buffer): string => createHash('sha256').update(octets).digest('hex');

/** @returns what follows the header */
export const bodyOf = (message: Buffer): Buffer => message.subarray(message.indexOf('\r\n\r\n') + 4);

/** @param name another one for each */
export function makeMail(name: string, to: string, random: () => number): Fed {
  let chance = random();
  const sort = SHARES.find(([, share]) => (chance -= share) < 0)?.[0] ?? 'plain';
  const id = `<${name}@crash.test>`;
  const from = sort === 'refused' ? `${name}@${BLOCKED}` : 'alice@contoso.com';
  const lines = sort === 'large' ? 3_500 : 1 + Math.floor(random() * 20);
  const text = Array.from({ length: lines }, () => random().toString(36).padEnd(20, 'x').repeat(3)).join('\r\n');
  const body = `${text}\r\n`;
  const header = [
    ...(sort === 'nobody' ? [] : [`From: ${from}`]),
    `To: ${to}`,
    `Subject: ${sort} ${name}`,
    `Message-ID: ${id}`,
    'Date: Thu, 26 Nov 2026 08:00:00 +0000',
    ...(sort === 'meeting' ? ['Content-Type: text/calendar; method=REQUEST'] : []),
  ];
  const mime = Buffer.from(`${header.join('\r\n')}\r\n\r\n${body}`);
  return { id, sort, from, digest: digest(body), mail: { mime, ...(sort === 'poison' ? { broken: 'mime' } : {}) } };
}
