/** Bare line ends on their way in: mended the same however the octets come, and nothing else is touched. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineEnds } from '../../src/mail/lines.ts';
import { cost, LARGE, LINEAR } from './cost.ts';

fc.configureGlobal({ seed: 5321 });

/** What the standard says, on the whole text at once. */
function reference(text: string): string {
  return text.replace(/\r\n|\r|\n/g, '\r\n');
}

function through(chunks: readonly Buffer[]): { text: string; bareLf: number; bareCr: number } {
  const lines = new LineEnds();
  const out = [...chunks.map((chunk) => lines.push(chunk)), lines.end()];
  return { text: Buffer.concat(out).toString('latin1'), bareLf: lines.bareLf, bareCr: lines.bareCr };
}

const octets = (text: string): Buffer => Buffer.from(text, 'latin1');
const single = (text: string): Buffer[] => [...text].map(octets);

describe('line ends', () => {
  it.each([
    ['nothing', '', 0, 0],
    ['no line end', 'abc', 0, 0],
    ['CRLF', 'a\r\nb\r\n', 0, 0],
    ['LF', 'a\nb\n', 2, 0],
    ['CR', 'a\rb\r', 0, 2],
    ['LF CR', 'a\n\rb', 1, 1],
    ['CR CR LF', 'a\r\r\nb', 0, 1],
    ['CR LF LF', 'a\r\n\nb', 1, 0],
    ['LF.LF', 'a\n.\nb', 2, 0],
    ['CR.CR', 'a\r.\rb', 0, 2],
    ['LF.CRLF', 'a\n.\r\nb', 1, 0],
    ['CR at the very end', 'a\r', 0, 1],
    ['NUL and 8-bit', '\0\xff\n\x80\r', 1, 1],
    ['empty lines', '\n\n\r\r\r\n', 2, 2],
  ])('%s', (_what, text, bareLf, bareCr) => {
    const expected = { text: reference(text), bareLf, bareCr };
    expect(through([octets(text)])).toEqual(expected);
    expect(through(single(text))).toEqual(expected);
  });

  it('come out the same however the octets are cut', () => {
    const piece = fc.constantFrom('\r', '\n', '\r\n', '.', 'a', 'bc', '\0', '\xff', '');
    fc.assert(
      fc.property(fc.array(fc.array(piece, { maxLength: 6 }), { maxLength: 8 }), (parts) => {
        const chunks = parts.map((part) => octets(part.join('')));
        const whole = Buffer.concat(chunks).toString('latin1');
        const { text, bareLf, bareCr } = through(chunks);
        expect(text).toBe(reference(whole));
        expect(bareLf + bareCr).toBe((whole.match(/\r\n|\r|\n/g) ?? []).filter((end) => end !== '\r\n').length);
      }),
      { numRuns: 2000 },
    );
  });

  it('cost no copy where nothing is wrong', () => {
    const chunk = octets(`${'x'.repeat(76)}\r\n`.repeat(800));
    const lines = new LineEnds();
    const out = lines.push(chunk);
    expect(out.buffer).toBe(chunk.buffer);
    expect(out.length).toBe(chunk.length);
  });

  it('cost no copy where a chunk ends between CR and LF', () => {
    const chunk = octets('line\r\nline\r');
    const out = new LineEnds().push(chunk);
    expect([out.buffer, out.byteOffset, out.length]).toEqual([chunk.buffer, chunk.byteOffset, chunk.length - 1]);
  });

  it('that are all bare cost no more than octets', async () => {
    for (const text of ['\n', '\r', '\n\r', '\r\n', 'a\n']) {
      const chunk = octets(text.repeat(LARGE / text.length));
      expect(await cost(() => new LineEnds().push(chunk))).toBeLessThan(LINEAR);
    }
  });
});
