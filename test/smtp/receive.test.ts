/** A message on its way in, octets to draft: framing, what is looked at, what passes untouched, what it costs. */
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { describe, expect, it } from 'vitest';
import { parseHeader } from '../../src/mail/addresses.ts';
import { PEEK } from '../../src/mail/charset.ts';
import { splitHeader } from '../../src/mail/header.ts';
import type { Reply } from '../../src/mail/policy.ts';
import { receive } from '../../src/smtp/receive.ts';
import type { ReceiveOptions, Received } from '../../src/smtp/receive.ts';
import { MemoryInject } from './memory-inject.ts';
import type { Draft } from './memory-inject.ts';

fc.configureGlobal({ seed: 5321 });

const DATE = 'Date: Mon, 2 Nov 2026 10:00:00 +0000\r\n';
const WHOLE = `From: a@contoso.com\r\n${DATE}Message-ID: <1@client.test>\r\n`;

function options(inject: MemoryInject, more: Partial<ReceiveOptions> = {}): ReceiveOptions {
  return {
    inject,
    envelope: { reversePath: 'fax@contoso.com', recipients: [{ address: 'b@contoso.com' }] },
    origin: { source: 'smtp', name: 'lan', peer: '192.0.2.7' },
    protocol: 'ESMTP',
    hostname: 'gw.test',
    defaultFrom: 'gateway@contoso.com',
    maxMessageSize: 100_000_000,
    maxHeaderSize: 256 * 1024,
    maxHops: 10,
    maxRecipients: 10,
    lenient: true,
    completeDomain: 'contoso.com',
    headerOnly: 'drop',
    nullReversePath: 'suppress',
    judge: () => ({ mailbox: 'notifications@contoso.com', from: 'keep' }),
    mayReceive: () => undefined,
    now: () => Date.UTC(2026, 10, 23, 9, 5, 7),
    cutOff: () => undefined,
    ...more,
  };
}

async function* cut(octets: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer> {
  let at = 0;
  for (let n = 0; at < octets.length; n++) {
    const end = at + Math.max(1, sizes[n % sizes.length] ?? octets.length);
    yield octets.subarray(at, end);
    at = end;
  }
}

async function taken(
  message: string | Buffer,
  more: Partial<ReceiveOptions> = {},
  sizes: readonly number[] = [100_000_000],
): Promise<{ draft: Draft; received: Received }> {
  const inject = new MemoryInject();
  const octets = typeof message === 'string' ? Buffer.from(message, 'latin1') : message;
  const received = await receive(cut(octets, sizes), options(inject, more));
  return { draft: inject.only, received };
}

const sha256 = (octets: Uint8Array): string => createHash('sha256').update(octets).digest('hex');

describe('any chunking', () => {
  const messages = fc
    .array(
      fc.constantFrom(
        'From: fax\r\n',
        'To: M\xfcller <b@contoso.com>\n',
        'Subject: Gr\xc3\xbc\xc3\x9fe\r',
        '\r\n',
        '\n',
        '\r',
        '\n\n',
        'no field\r\n',
        'text \xe9\r\n',
        '\xc3\xa9',
        'Content-Type: text/plain\r\n',
        ' folded\r\n',
        '.',
        'Received: x\r\n',
      ),
      { maxLength: 14 },
    )
    .map((pieces) => Buffer.from(pieces.join(''), 'latin1'));

  it('gives the same message', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(messages, sizes, async (octets, chunks) => {
        const whole = await taken(octets);
        const pieces = await taken(octets, {}, chunks);
        expect(pieces.draft.octets.toString('latin1')).toBe(whole.draft.octets.toString('latin1'));
        expect(pieces.draft.arrival).toEqual(whole.draft.arrival);
        expect(pieces.received).toEqual(whole.received);
        // Nothing but CRLF ends a line, and the header block is where it is said to be.
        expect(whole.draft.octets.toString('latin1')).not.toMatch(/\r(?!\n)|(?<!\r)\n/);
        expect(whole.draft.header.indexOf('\r\n\r\n')).toBe(whole.draft.header.length - 4);
        expect(whole.received.size).toBe(whole.draft.octets.length);
      }),
      { numRuns: 500 },
    );
  });
});

describe('line ends', () => {
  it('that were mended are counted', async () => {
    const { received } = await taken(`${WHOLE.replaceAll('\r\n', '\n')}\nbody\rend\n`);
    expect(received.repairs).toEqual(['made CRLF of 5 bare LF and 1 bare CR']);
  });

  it.each(['X: a\nb: c\r\n\r\n', '\r\nbody\n', '\r\nbody\rmore\r\n', '\r\nbody\r'])(
    'that are bare are refused where nothing is tolerated: %j',
    async (rest) => {
      const inject = new MemoryInject();
      const refused = receive(cut(Buffer.from(`${WHOLE}${rest}`), [7]), options(inject, { lenient: false }));
      await expect(refused).rejects.toMatchObject({ responseCode: 550, message: expect.stringMatching(/^5\.6\.11 /) });
      expect(inject.drafts.map(({ state, aborts }) => [state, aborts])).toEqual([['aborted', 1]]);
    },
  );
});

describe('a body is passed on octet for octet', () => {
  const signed =
    'This is an S/MIME signed message\r\n\r\n--b\r\nContent-Type: text/plain; charset=x\r\n\r\nGr\xfc\xdfe \t\r\n.\r\n\r\n--b\r\n' +
    'Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIB\r\n--b--\r\n';
  it.each([
    ['multipart/signed; protocol="application/pkcs7-signature"; boundary=b', signed],
    ['application/pkcs7-mime; smime-type=enveloped-data', 'MIIBkgYJKoZIhvcNAQcDoIIBgzCC\r\n'.repeat(9_000)],
    ['multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b', signed],
    ['multipart/mixed; boundary=b', signed.repeat(700)],
    ['application/octet-stream', '\x00\xff\x80\x0b'.repeat(50_000)],
  ])('%s', async (type, body) => {
    const { draft, received } = await taken(
      `${WHOLE}MIME-Version: 1.0\r\nContent-Type: ${type}\r\n\r\n${body}`,
      {},
      [65_536, 1, 17],
    );
    expect(sha256(draft.body)).toBe(sha256(Buffer.from(body, 'latin1')));
    expect(received.repairs).toEqual([]);
  });
});

describe('a body that nobody declared', () => {
  const declared = async (body: Buffer, sizes?: readonly number[]): Promise<string | undefined> => {
    const { draft } = await taken(Buffer.concat([Buffer.from(`${WHOLE}\r\n`), body]), {}, sizes);
    expect(draft.body.equals(body)).toBe(true);
    const [type] = draft.fields('content-type');
    return type?.trim().replace('Content-Type: text/plain; charset=', '');
  };
  const filled = (text: string, size: number): Buffer =>
    Buffer.concat([Buffer.from(text), Buffer.alloc(size - Buffer.byteLength(text), 'x')]);

  it.each([1, 2, 3])('is UTF-8 also where the border cuts a character after %i of its octets', async (octets) => {
    const body = Buffer.concat([filled('\u00fc', PEEK - octets), Buffer.from('\u{1f600} and so on\r\n')]);
    expect(await declared(body)).toBe('utf-8');
    expect(await declared(body, [1_000])).toBe('utf-8');
  });

  it.each([
    ['ends right at the border with half a character', filled('\u00fc', PEEK - 1), '\xc3', 'iso-8859-1'],
    ['goes on behind that', filled('\u00fc', PEEK - 1), '\xc3\xbc\r\n', 'utf-8'],
    ['ends right at the border', filled('\u00fc', PEEK), '', 'utf-8'],
    ['has its first letter behind the border: what was not looked at stays', filled('', PEEK), '\xfc\r\n', undefined],
    ['is Latin-1 behind the border: the guess stands', filled('\u00fc', PEEK), '\xfc\r\n', 'utf-8'],
    ['is ASCII', filled('', 100), '', undefined],
  ])('%s', async (_what, head, tail, charset) => {
    const body = Buffer.concat([head, Buffer.from(tail, 'latin1')]);
    expect(await declared(body)).toBe(charset);
    expect(await declared(body, [PEEK + WHOLE.length + 2 - 3, 1, 1, 1])).toBe(charset);
  });

  it('reads as what was meant', async () => {
    const { draft } = await taken('From: fax\r\nSubject: Gr\xfc\xdfe\r\n\r\nStra\xdfe\r\n');
    const read = await simpleParser(draft.octets);
    expect([read.subject, read.text?.trim(), read.from?.value[0]?.address]).toEqual([
      'Gr\u00fc\u00dfe',
      'Stra\u00dfe',
      'fax@contoso.com',
    ]);
  });
});

describe('memory', () => {
  it('is held for the header and for what is looked at, no more', async () => {
    const inject = new MemoryInject();
    let written = 0;
    let sent = 0;
    let held = 0;
    inject.onWrite = (draft) => {
      for (const chunk of draft.chunks.splice(0)) written += chunk.length;
    };
    async function* stream(): AsyncGenerator<Buffer> {
      yield Buffer.from(`${WHOLE}\r\n`);
      for (let n = 0; n < 2_000; n++) {
        sent += 1_000;
        yield Buffer.alloc(1_000, 'x');
        const [draft] = inject.drafts;
        held = Math.max(held, sent - written - (draft?.chunks ?? []).reduce((sum, { length }) => sum + length, 0));
      }
    }
    await receive(stream(), options(inject));
    expect(held).toBeLessThanOrEqual(PEEK + 1_000);
  });

  it('is not held at all where the header says what the body is', async () => {
    const inject = new MemoryInject();
    const seen: number[] = [];
    async function* stream(): AsyncGenerator<Buffer> {
      yield Buffer.from(`${WHOLE}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n`);
      for (let n = 0; n < 3; n++) {
        yield Buffer.from('line\r\n');
        seen.push(inject.drafts[0]?.chunks.length ?? 0);
      }
    }
    await receive(stream(), options(inject));
    expect(seen).toEqual([2, 3, 4]);
  });

  it('of chunks that hold one octet each is that of one', async () => {
    const inject = new MemoryInject();
    const chunk = Buffer.alloc(1_000_000, 'x');
    async function* stream(): AsyncGenerator<Buffer> {
      yield Buffer.from(`${WHOLE}\r\n`);
      for (let n = 0; n < PEEK; n++) yield chunk.subarray(n, n + 1);
    }
    await receive(stream(), options(inject));
    // Looked at as one, written as one.
    expect(inject.only.chunks.map(({ length }) => length).at(-1)).toBe(PEEK);
  });
});

describe('the sender', () => {
  const REPLY: Reply = {
    refusal: 'sender',
    code: 550,
    enhanced: '5.7.1',
    text: 'ceo@contoso.com is not in senders.allow of the user pbx',
    detail: 'From',
  };

  it('who may not is told the rule, and nothing is kept', async () => {
    const inject = new MemoryInject();
    const refused = receive(cut(Buffer.from(`${WHOLE}\r\nx\r\n`), [5]), options(inject, { judge: () => REPLY }));
    await expect(refused).rejects.toMatchObject({
      responseCode: 550,
      refusal: 'sender',
      message: '5.7.1 ceo@contoso.com is not in senders.allow of the user pbx',
      detail: 'From',
    });
    expect(inject.drafts.map(({ state }) => state)).toEqual(['aborted']);
  });

  it.each<[string, string, string[]]>([
    ['HylaFAX', 'From: The HylaFAX Receive Agent <fax>', ['fax@contoso.com']],
    ['one word', 'From: fax', ['fax@contoso.com']],
    ['nothing', 'From:', ['fax@contoso.com']],
    ['what nobody can read', 'From: "x <a"@b.c>', ['fax@contoso.com']],
    ['several fields', 'From: b@x.test\r\nFrom: c@x.test', ['b@x.test', 'c@x.test']],
    ['8-bit text', 'From: B\xfcro <b@x.test>', ['b@x.test']],
  ])('of %s is one that every reader sees', async (_what, from, seen) => {
    const { draft } = await taken(`${from}\r\n${DATE}\r\nx\r\n`);
    expect(draft.arrival?.from).toEqual(seen);
    expect(draft.fields('from')).toHaveLength(1);
    const read = await simpleParser(draft.octets);
    expect(read.from?.value.map(({ address }) => address)).toEqual(seen);
  });

  it('of Asterisk goes out by the mailbox of its rule, and can be answered', async () => {
    const { draft } = await taken(
      `From: "Asterisk PBX" <asterisk@pbx.local>\r\nSender: root@pbx.local\r\n${DATE}\r\nx\r\n`,
      { judge: () => ({ mailbox: 'PBX@contoso.com', route: 'pbx', from: 'rewrite', name: 'Voicemail' }) },
    );
    expect(draft.arrival).toMatchObject({ mailbox: 'PBX@contoso.com', route: 'pbx', from: ['PBX@contoso.com'] });
    const header = await parseHeader(splitHeader(Buffer.from(draft.header, 'latin1')));
    expect(header.from).toEqual([{ name: 'Voicemail', address: 'PBX@contoso.com' }]);
    expect(header.replyTo).toEqual([{ name: 'Asterisk PBX', address: 'asterisk@pbx.local' }]);
    expect(header.sender).toEqual([]);
    expect(draft.arrival?.repairs).toEqual(['rewrote From', 'added Message-ID']);
  });
});

describe('a header of very many fields', () => {
  it('is refused, for the time that reading them takes', async () => {
    const fields = (count: number): string => `${WHOLE}${'To:x\r\n'.repeat(count - 3)}\r\nx\r\n`;
    const inject = new MemoryInject();
    const refused = receive(cut(Buffer.from(fields(5_001)), [65_536]), options(inject));
    await expect(refused).rejects.toMatchObject({
      responseCode: 552,
      refusal: 'header',
      message: '5.3.4 The header of the message has more than 5000 fields',
    });
    expect((await taken(fields(5_000))).draft.fields('to')).toHaveLength(4_997);
  });
});

describe('every change', () => {
  it('is named, in the order in which it was made', async () => {
    const { draft } = await taken(
      'From x\nFrom: fax\nTo: B\xfcro <b@contoso.com>\nDKIM-Signature: v=1\nMessage-ID: 7\nContent-Type: text/plain\n\nStra\xdfe\n',
    );
    expect(draft.arrival?.repairs).toEqual([
      'completed From with a domain',
      'removed an mbox From line',
      'removed DKIM-Signature',
      'wrote Message-ID in brackets',
      'encoded or folded To',
      'added Date',
      'declared the body as 8-bit iso-8859-1',
      'added MIME-Version',
      'made CRLF of 8 bare LF and 0 bare CR',
    ]);
  });

  it('is named in few words, whatever the client calls its fields', async () => {
    const names = Array.from({ length: 2_000 }, (_, n) => `X-MS-Exchange-Organization-${n}${'x'.repeat(80)}: y\r\n`);
    const { draft } = await taken(`${WHOLE}${names.join('')}\r\nx\r\n`);
    const repairs = draft.arrival?.repairs.join('; ') ?? '';
    expect(repairs.length).toBeLessThan(1_500);
    expect(repairs).toMatch(/^removed X-MS-Exchange-Organization-0x+.*, .* and 1990 more$/);
  });
});

describe('a byte order mark in front', () => {
  it('goes, and the header is read', async () => {
    const { draft, received } = await taken(Buffer.from(`\ufeff${WHOLE}Subject: x\r\n\r\nbody\r\n`));
    expect(received.repairs).toEqual(['removed a byte order mark']);
    expect(received.messageId).toBe('<1@client.test>');
    expect(draft.octets.toString()).toMatch(/\r\nFrom: a@contoso\.com\r\n/);
    expect(draft.octets.includes(Buffer.from('\ufeff'))).toBe(false);
  });

  it('in the body stays', async () => {
    const { draft } = await taken(Buffer.from(`${WHOLE}Content-Type: text/plain; charset=utf-8\r\n\r\n\ufeffbody\r\n`));
    expect(draft.octets.includes(Buffer.from('\r\n\r\n\ufeffbody'))).toBe(true);
  });
});
