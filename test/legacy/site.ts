/** Messages for the legacy system, and what a test wants to see of them. */
import { randomBytes } from 'node:crypto';
import type { Envelope } from '../../src/mail/envelope.ts';
import type { Journal, Outgoing } from '../../src/mail/transport.ts';

export const FAX = 'fax@contoso.test';
export const never = new AbortController().signal;

export const PLAIN = [
  'From: Ann <ann@contoso.test>',
  'To: fax@contoso.test',
  'Subject: =?utf-8?B?RsO8ciBkaWNo?= (urgent)',
  'Date: Wed, 25 Nov 2026 10:00:00 +0100 (CET)',
  'Message-ID: <1@contoso.test>',
  '',
  'Text.',
  '',
].join('\r\n');

/** Attachments with the names given, each with some octets of its own. */
export function mixed(names: readonly string[], html = '<p>Ä</p>'): string {
  const part = (name: string, index: number): string =>
    [
      '--b',
      `Content-Type: application/pdf; name="${name}"`,
      `Content-Disposition: attachment; filename="${name}"`,
      'Content-Transfer-Encoding: base64',
      '',
      Buffer.from(`%PDF ${index}`).toString('base64'),
    ].join('\r\n');
  return [
    'From: ann@contoso.test',
    'Subject: Fax',
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary=b',
    '',
    '--b',
    'Content-Type: multipart/alternative; boundary=a',
    '',
    '--a',
    'Content-Type: text/plain; charset=iso-8859-1',
    '',
    'Text.',
    '--a',
    'Content-Type: text/html; charset=utf-8',
    '',
    html,
    '--a--',
    ...names.map(part),
    '--b--',
    '',
  ].join('\r\n');
}

export function journal(words: string[] = []): Journal & { readonly words: readonly string[] } {
  return {
    words,
    last: async () => words.at(-1),
    write: async (step) => void words.push(step),
  };
}

let items = 0;

export interface OutgoingOptions {
  readonly id?: string;
  readonly to?: readonly string[];
  readonly envelope?: Partial<Envelope>;
  readonly journal?: Journal;
  /** What is read instead of the message, whose size it has not. */
  readonly open?: () => AsyncIterable<Uint8Array>;
  readonly size?: number;
}

/** A chunk is wiped when the next one is asked for, as the spool takes its memory back. */
export function outgoing(message: Buffer | string, options: OutgoingOptions = {}): Outgoing {
  const octets = Buffer.from(message);
  const id = options.id ?? `01kb0000${String(++items).padStart(8, '0')}`;
  return {
    item: {
      id,
      message: id,
      route: 'fax',
      mailbox: FAX,
      envelope: {
        reversePath: 'ann@contoso.test',
        recipients: (options.to ?? ['+493012345@fax.local']).map((address) => ({ address })),
        ...options.envelope,
      },
      origin: { source: 'pickup', name: 'fax', peer: '' },
      messageId: '<1@contoso.test>',
      headerSize: octets.indexOf('\r\n\r\n') + 4,
      size: options.size ?? octets.length,
      state: 'sending',
      arrivedAt: Date.UTC(2026, 10, 25, 9, 0, 5),
      due: 0,
      attempts: 1,
      doubtful: false,
    },
    ...(options.journal === undefined ? {} : { journal: options.journal }),
    open:
      options.open ??
      async function* () {
        for (let at = 0; at < octets.length; at += 1000) {
          const piece = Buffer.from(octets.subarray(at, at + 1000));
          yield piece;
          piece.fill(0);
        }
      },
  };
}

/** A large message that is never in memory whole, and how much of it was asked for beyond what was taken. */
export function large(size: number): Outgoing & { readonly asked: () => number } {
  const header = Buffer.from('Subject: large\r\n\r\n');
  const piece = randomBytes(64 * 1024);
  let asked = 0;
  const made = outgoing(header, {
    size,
    async *open() {
      asked = 0;
      yield Buffer.from(header);
      for (let left = size - header.length; left > 0; left -= piece.length) {
        const chunk = Buffer.from(piece.subarray(0, Math.min(left, piece.length)));
        asked += chunk.length;
        yield chunk;
        chunk.fill(0);
      }
    },
  });
  return { ...made, asked: () => asked };
}
