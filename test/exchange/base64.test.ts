import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { base64, base64Length } from '../../src/exchange/base64.ts';

async function* pieces(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

async function encode(parts: readonly Uint8Array[]): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of base64(pieces(parts))) chunks.push(chunk);
  return Buffer.concat(chunks).toString('latin1');
}

describe('base64 of a stream', () => {
  it('is that of the whole, however it is cut, and as long as was said', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 }), async (parts) => {
        const whole = Buffer.concat(parts);
        const text = await encode(parts);
        expect(text).toBe(whole.toString('base64'));
        expect(text.length).toBe(base64Length(whole.length));
      }),
      { numRuns: 500 },
    );
  });

  it('is the same for chunks that are views of a larger buffer', async () => {
    const large = new Uint8Array(100).map((_, index) => index * 7);
    expect(await encode([large.subarray(10, 31), large.subarray(31, 90)])).toBe(
      Buffer.from(large.subarray(10, 90)).toString('base64'),
    );
  });

  it.each([0, 1, 2, 3])('comes in pieces of 64 KiB at most, from chunks of the spool and %i octets', async (more) => {
    const whole = Buffer.from(Array.from({ length: 262_144 + more }, (_, index) => (index * 31) % 251));
    const chunks: Buffer[] = [];
    for await (const chunk of base64(pieces([whole.subarray(0, 200_001), whole.subarray(200_001)]))) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString('latin1')).toBe(whole.toString('base64'));
    expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThanOrEqual(65_536);
  });

  it('does not keep what the source may use again', async () => {
    const reused = new Uint8Array(4);
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let round = 0; round < 3; round++) {
        reused.fill(65 + round);
        yield reused;
      }
    }
    const chunks: Buffer[] = [];
    for await (const chunk of base64(source())) chunks.push(chunk);
    expect(Buffer.from(Buffer.concat(chunks).toString('latin1'), 'base64').toString('latin1')).toBe('AAAABBBBCCCC');
  });

  it('fails as its source fails', async () => {
    const broken = {
      async *[Symbol.asyncIterator]() {
        yield new Uint8Array(5);
        throw new Error('the disk is gone');
      },
    };
    await expect(async () => {
      for await (const chunk of base64(broken)) void chunk;
    }).rejects.toThrow('the disk is gone');
  });
});
