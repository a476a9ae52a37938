/** The message inside an answer of EWS, wherever the answer's chunks end. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MimeStream } from '../../src/exchange/mime-stream.ts';
import { parseXml } from '../../src/exchange/soap.ts';

const MIME = Buffer.from('Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nbody\r\n');

function answer(content: string, { tag = 't:MimeContent', attributes = ' CharacterSet="UTF-8"', name = 'grüße' } = {}) {
  return Buffer.from(
    `<?xml version="1.0"?><s:Envelope><s:Body><m:Items><t:Message><${tag}${attributes}>${content}</${tag}>` +
      `<t:Subject>${name}</t:Subject></t:Message></m:Items></s:Body></s:Envelope>`,
  );
}

interface Read {
  readonly mime: Buffer;
  readonly stream: MimeStream;
}

function read(chunks: readonly Uint8Array[]): Read {
  const stream = new MimeStream();
  return { mime: Buffer.concat(chunks.map((chunk) => stream.push(chunk))), stream };
}

function cut(octets: Buffer, size: number): Buffer[] {
  const count = Math.ceil(octets.length / size);
  return Array.from({ length: count }, (_, index) => octets.subarray(index * size, (index + 1) * size));
}

describe('sound content', () => {
  const whole = answer(MIME.toString('base64'));

  it('is read at every border of two chunks, and the rest is the answer without it', () => {
    for (let at = 0; at <= whole.length; at++) {
      const { mime, stream } = read([whole.subarray(0, at), whole.subarray(at)]);
      expect(stream.isWhole).toBe(true);
      expect(mime.equals(MIME)).toBe(true);
      expect(stream.rest).toBe(answer('').toString());
    }
  });

  it.each([1, 2, 3, 5, 7, 64])('is read in chunks of %i', (size) => {
    const { mime, stream } = read(cut(whole, size));
    expect({ mime, isWhole: stream.isWhole, isSound: stream.isSound }).toEqual({
      mime: MIME,
      isWhole: true,
      isSound: true,
    });
    expect(parseXml(stream.rest)).toBeDefined();
  });

  it.each([
    ['another prefix', { tag: 'ns2.x-y:MimeContent' }],
    ['none', { tag: 'MimeContent' }],
    ['no attribute', { attributes: '' }],
    ['a bracket in an attribute', { attributes: ` a="x>y" b='"' ` }],
    ['white space in the tag', { attributes: '\r\n\t' }],
  ])('%s', (_what, shape) => {
    const octets = answer(MIME.toString('base64'), shape);
    for (let at = 0; at <= octets.length; at++) {
      const { mime, stream } = read([octets.subarray(0, at), octets.subarray(at)]);
      expect(stream.isWhole && mime.equals(MIME)).toBe(true);
    }
  });

  it('may be of any length, cut anywhere, with white space anywhere', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.array(fc.nat(400), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
        (octets, spaces, sizes) => {
          let text = Buffer.from(octets).toString('base64');
          for (const at of spaces) text = `${text.slice(0, at)}\r\n\t ${text.slice(at)}`;
          const sent = answer(text);
          const chunks: Buffer[] = [];
          for (let at = 0, turn = 0; at < sent.length; turn++) {
            const size = sizes[turn % sizes.length] ?? 1;
            chunks.push(sent.subarray(at, at + size));
            at += size;
          }
          const { mime, stream } = read(chunks);
          return stream.isWhole && mime.equals(Buffer.from(octets));
        },
      ),
      { numRuns: 400 },
    );
  });

  it('gives pieces that later chunks do not change', () => {
    const stream = new MimeStream();
    const octets = answer(Buffer.alloc(4000, 'ab').toString('base64'));
    const reused = Buffer.alloc(100);
    const pieces: Buffer[] = [];
    for (const chunk of cut(octets, 100)) {
      chunk.copy(reused);
      pieces.push(stream.push(reused.subarray(0, chunk.length)));
    }
    expect(Buffer.concat(pieces).equals(Buffer.alloc(4000, 'ab'))).toBe(true);
  });
});

describe('what is not whole is never taken for a message', () => {
  const base64 = MIME.toString('base64');

  it('an answer cut off, wherever', () => {
    const whole = answer(base64);
    for (let at = 0; at < whole.length; at++) {
      const { stream } = read([whole.subarray(0, at)]);
      expect(stream.isWhole && parseXml(stream.rest) !== undefined).toBe(false);
    }
  });

  it.each([
    ['a character of none', `${base64.slice(0, 8)}*${base64.slice(9)}`],
    ['that of the URL alphabet', 'ab-_'],
    ['a quartet that is short', base64.slice(0, -1)],
    ['more after the padding', 'QQ==QUJD'],
    ['padding in the middle', 'Q=Q='],
    ['too much of it', 'Q==='],
    ['nothing but it', '===='],
    ['an entity', 'QUJD&#13;QUJD'],
    ['an element inside', 'QUJD<b/>QUJD'],
    ['a marked section', '<![CDATA[QUJD]]>'],
    ['nothing', ''],
    ['white space alone', ' \r\n'],
  ])('%s', (_what, content) => {
    for (const size of [1, 3, 1000]) expect(read(cut(answer(content), size)).stream.isWhole).toBe(false);
  });

  it('an empty element, and an answer without one', () => {
    for (const text of [
      '<a><t:MimeContent CharacterSet="UTF-8"/></a>',
      '<a><t:MimeContents>QUJD</t:MimeContents></a>',
    ]) {
      const { mime, stream } = read([Buffer.from(text)]);
      expect({ mime: mime.length, isWhole: stream.isWhole, rest: stream.rest }).toEqual({
        mime: 0,
        isWhole: false,
        rest: text,
      });
    }
  });
});

describe('memory', () => {
  it.each([
    ['before the content', ''],
    ['after it', '<t:MimeContent>QUJD</t:MimeContent>'],
  ])('an answer without an end is given up %s', (_what, beginning) => {
    const { stream } = read([Buffer.from(beginning), ...cut(Buffer.alloc(300 * 1024, 'x'), 16_384)]);
    expect({ isSound: stream.isSound, isWhole: stream.isWhole, rest: stream.rest.length }).toMatchObject({
      isSound: false,
      isWhole: false,
    });
    expect(stream.rest.length).toBeLessThan(1000);
  });

  it('is not what a large message costs', () => {
    const stream = new MimeStream();
    const chunk = Buffer.from(Buffer.alloc(49_152, 'x').toString('base64'));
    stream.push(Buffer.from('<a><MimeContent>'));
    let length = 0;
    for (let count = 0; count < 1_000; count++) length += stream.push(chunk).length;
    stream.push(Buffer.from('</MimeContent></a>'));
    expect({ length, isWhole: stream.isWhole, rest: stream.rest }).toEqual({
      length: 49_152_000,
      isWhole: true,
      rest: '<a><MimeContent></MimeContent></a>',
    });
  });
});
