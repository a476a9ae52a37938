/** LF.LF as the end of a message: exactly that, however the octets are cut, and one message only. */
import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LfEnd } from '../../src/smtp/lf-end.ts';
import { TestListener } from './listener.ts';

/** Cut into pieces of every size. */
function readIn(text: string, size: number): { text: string; ended: boolean } {
  const end = new LfEnd();
  let all = '';
  for (let at = 0; at < text.length; at += size) {
    const { octets, ended } = end.read(Buffer.from(text.slice(at, at + size), 'latin1'));
    all += octets.toString('latin1');
    if (ended) return { text: all + text.slice(at + size), ended };
  }
  return { text: all, ended: false };
}

describe('LfEnd', () => {
  it.each([
    { text: 'a\n.\nQUIT\n', becomes: 'a\r\n.\r\nQUIT\n', ended: true },
    { text: 'a\nb\n.\n', becomes: 'a\nb\r\n.\r\n', ended: true },
    { text: '.\n', becomes: '.\r\n', ended: true },
    { text: '\n.\n', becomes: '\r\n.\r\n', ended: true },
    { text: '\n\n.\n', becomes: '\n\r\n.\r\n', ended: true },
    { text: 'a\r\n.\nb', becomes: 'a\r\n.\nb', ended: false },
    { text: 'a\n.\r\nb', becomes: 'a\n.\r\nb', ended: false },
    { text: 'a\n..\nb', becomes: 'a\n..\nb', ended: false },
    { text: 'a\n. \nb', becomes: 'a\n. \nb', ended: false },
    { text: 'a\r.\rb', becomes: 'a\r.\rb', ended: false },
    { text: 'a\n.\0\nb', becomes: 'a\n.\0\nb', ended: false },
    { text: 'a\r\n..\r\nb', becomes: 'a\r\n..\r\nb', ended: false },
    { text: 'a\r\n.\r\r\nb', becomes: 'a\r\n.\r\r\nb', ended: false },
    // What stands behind the other end is no message any more.
    { text: 'a\r\n.\r\nx\n.\n', becomes: 'a\r\n.\r\nx\n.\n', ended: false, sizes: [100] },
  ])('$text', ({ text, becomes, ended, sizes = [1, 2, 3, 4, 5, 100] }) => {
    for (const size of sizes) {
      const read = readIn(text, size);
      expect(becomes.startsWith(read.text)).toBe(true);
      expect(read.ended).toBe(ended);
      expect(read.text.length === becomes.length || !ended).toBe(true);
    }
  });
});

it('LfEnd finds what a search through the whole text finds, however it is cut', () => {
  const text = fc.array(fc.constantFrom('\r', '\n', '\n', '.', 'a'), { maxLength: 14 }).map((all) => all.join(''));
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 5 }), (octets, size) => {
      const whole = `\r\n${octets}`;
      const other = whole.indexOf('\r\n.\r\n');
      const found = /(?<!\r)\n\.\n|^\r\n\.\n/.exec(whole);
      // The first end is the end.
      const ends = found !== null && (other < 0 || found.index < other);
      fc.pre(other < 0 || ends);
      const read = readIn(octets, size);
      expect(read.ended).toBe(ends);
      const at = (found?.index ?? 0) + (found?.[0].length ?? 0);
      const before = found?.index === 0 ? '' : whole.slice(2, found?.index);
      const becomes = found?.index === 0 ? '.\r\n' : `${before}\r\n.\r\n`;
      expect(ends ? read.text : '').toBe(ends ? becomes + whole.slice(at) : '');
      expect(ends || octets.startsWith(read.text)).toBe(true);
      // What is held back could still be the begin of an end.
      expect(ends ? '' : octets.slice(read.text.length)).toMatch(/^(?:\n\.?|\.)?$/);
    }),
    { seed: 2_026, numRuns: 20_000 },
  );
});

describe('a listener with lfEndOfData', () => {
  let listener: TestListener;
  beforeEach(async () => {
    listener = await new TestListener().start({ lenient: true, lfEndOfData: true });
  });
  afterEach(() => listener.end());

  it.each(['one write', 'octet by octet'])('takes a dialog with LF alone, in %s', async (how) => {
    const session = await listener.connect();
    await session.reply();
    const dialog = 'HELO fax\nMAIL FROM:<a@contoso.com>\nRCPT TO:<b@contoso.com>\nDATA\n';
    session.write(dialog);
    expect((await session.replies(4)).map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '250', '354']);
    const data = 'From: a@contoso.com\nSubject: x\n\n..dot\nbody\n.\nQUIT\n';
    if (how === 'one write') session.write(data);
    else await session.writeSlowly(data);
    expect(await session.reply()).toMatch(/^250 2\.0\.0 queued/);
    expect(await session.reply()).toMatch(/^221 /);
    await session.closed();
    const body = listener.inject.only.body.toString('latin1').replaceAll('\r\n', '\n');
    expect(body).toBe('.dot\nbody\n');
    expect(listener.refusals).toEqual([]);
  });

  it('takes nothing but QUIT after it: what was meant as content starts no second message', async () => {
    const session = await listener.session();
    await session.toData();
    session.write('Subject: x\n\ntext\n.\nMAIL FROM:<evil@contoso.com>\r\nRCPT TO:<b@contoso.com>\r\nDATA\r\n');
    expect(await session.reply()).toMatch(/^250 /);
    expect(await session.reply()).toBe('421 4.7.0 Nothing is taken after a message that ended with LF.LF');
    await session.closed();
    expect(listener.refusals).toMatchObject([{ refusal: 'policy' }]);
    expect(listener.inject.messages).toHaveLength(1);
  });

  it('takes as many messages as usual that end with CRLF.CRLF', async () => {
    const session = await listener.session();
    for (let n = 0; n < 3; n++) expect(await session.send('Subject: x\r\n\r\na\r\n')).toMatch(/^250 /);
    expect(listener.inject.messages).toHaveLength(3);
  });

  it('takes an empty message', async () => {
    const session = await listener.session();
    await session.toData();
    session.write('.\n');
    expect(await session.reply()).toMatch(/^250 /);
  });
});

it('another lenient listener waits for CRLF.CRLF', async () => {
  const listener = await new TestListener().start({ lenient: true });
  try {
    const session = await listener.session();
    await session.toData();
    session.write('Subject: x\n\ntext\n.\nMAIL FROM:<evil@contoso.com>\n.\r\n');
    session.write('\r\n.\r\n');
    expect(await session.reply()).toMatch(/^250 /);
    expect(listener.inject.only.body.toString()).toContain('MAIL FROM:<evil@contoso.com>');
  } finally {
    await listener.end();
  }
});
