/** Octets as COPY sends them, however the network cuts them. */
import { describe, expect, it } from 'vitest';
import { CopyReader } from '../../src/spool/postgres-copy.ts';

const HEAD = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const END = Buffer.from([255, 255]);

function row(octets: Buffer): Buffer {
  const head = Buffer.alloc(6);
  head.writeInt16BE(1, 0);
  head.writeInt32BE(octets.length, 2);
  return Buffer.concat([head, octets]);
}

describe('rows of octets', () => {
  const bodies = [Buffer.from([0, 1, 255, 92]), Buffer.alloc(0), Buffer.alloc(1_000, 'x')];
  const stream = Buffer.concat([HEAD, ...bodies.map(row), END]);

  it.each([1, 2, 5, 19, 20, 25, 64, 2_000])('come as they are in pieces of %i', (size) => {
    const reader = new CopyReader();
    const piece = Buffer.alloc(size);
    for (let at = 0; at < stream.length; at += size) {
      // The memory of a piece is used again for the next one.
      const length = stream.copy(piece, 0, at, at + size);
      reader.take(piece.subarray(0, length));
    }
    expect(reader.rows.map((octets) => Buffer.from(octets))).toEqual(bodies);
  });

  it('are none where there are none', () => {
    const reader = new CopyReader();
    reader.take(Buffer.concat([HEAD, END]));
    expect(reader.rows).toEqual([]);
  });

  it('are nothing else', () => {
    expect(() => new CopyReader().take(Buffer.alloc(30, 'x'))).toThrow(/no head/);
    const two = row(Buffer.from('a'));
    two.writeInt16BE(2, 0);
    expect(() => new CopyReader().take(Buffer.concat([HEAD, two]))).toThrow(/other columns/);
  });
});
