/** A message taken apart while it streams: what comes out, and what happens when either end fails. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { MimeError, readParts } from '../../src/mail/mime.ts';

/** Each chunk is worthless once the next one is asked for, as with the spool. */
async function* chunksOf(message: string, size: number, failAt = Infinity): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < message.length; at += size) {
    if (at >= failAt) throw new Error('the disk is gone');
    const chunk = new Uint8Array(Buffer.from(message.slice(at, at + size), 'latin1'));
    yield chunk;
    chunk.fill(0);
  }
}

const octets = randomBytes(200_000);
const MESSAGE =
  'Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n' +
  '--b\r\nContent-Type: image/PNG\r\nContent-ID: <p@x>\r\nContent-Disposition: inline; filename="a\tb.png"\r\n\r\npic\r\n' +
  `--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n${octets.toString('base64').replace(/.{76}/g, '$&\r\n')}\r\n--b--\r\n`;

/** 10 MB in 40 attachments. */
const MANY = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${`--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n${octets.toString('base64').replace(/.{76}/g, '$&\r\n')}\r\n`.repeat(40)}--b\r\n\r\nHello\r\n--b--\r\n`;

async function read(message: AsyncIterable<Uint8Array>, maxText = 1_000_000): Promise<unknown[]> {
  const seen: unknown[] = [];
  for await (const part of readParts(message, maxText)) {
    if (part.kind === 'body') {
      seen.push(part);
      continue;
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of part.content) chunks.push(chunk);
    const { type, name, contentId } = part;
    seen.push({ type, name, contentId, content: Buffer.concat(chunks).toString('base64') });
  }
  return seen;
}

describe('a message', () => {
  it.each([1_000, 65_537, 1_000_000])('in chunks of %i', async (size) => {
    expect(await read(chunksOf(MESSAGE, size))).toEqual([
      { type: 'image/png', name: 'a b.png', contentId: 'p@x', content: Buffer.from('pic').toString('base64') },
      { type: 'application/pdf', name: undefined, contentId: undefined, content: octets.toString('base64') },
      { kind: 'body', text: 'Hello' },
    ]);
  });

  it.each([0, 100, 100_000, 200_000])('whose reader fails at %i passes that failure on', async (at) => {
    await expect(read(chunksOf(MESSAGE, 1_000, at))).rejects.toThrow('the disk is gone');
  });

  it('is not read on once nobody wants more', async () => {
    for await (const part of readParts(chunksOf(MANY, 65_536, 8_000_000), 3_000_000)) {
      expect(part.kind).toBe('attachment');
      break;
    }
  });

  it('whose attachments nobody reads is gone through', async () => {
    const kinds: string[] = [];
    for await (const part of readParts(chunksOf(MESSAGE, 1_000), 1_000_000)) kinds.push(part.kind);
    expect(kinds).toEqual(['attachment', 'attachment', 'body']);
  });

  it('with too much text is refused, however large its attachments may be', async () => {
    expect(await read(chunksOf(MANY, 65_536), 3_000_000)).toHaveLength(41);
    const text = `Subject: x\r\n\r\n${'word '.repeat(1_000_000)}`;
    const failure = await read(chunksOf(text, 65_536), 1_000_000).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(MimeError);
    expect((failure as MimeError).trouble).toBe('text');
  });

  it('with too many parts is refused', async () => {
    const parts = '--b\r\nContent-Type: image/png\r\n\r\nx\r\n'.repeat(1_100);
    const many = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${parts}--b--\r\n`;
    const failure = await read(chunksOf(many, 1_000), 10_000_000).catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'MimeError', trouble: 'structure' });
  });
});
