/** What a client gets of a message: line ends, dots, the end, TOP, however the octets are cut; and how many octets it is. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalSize, listing, MessageBody } from '../../src/legacy/pop3-body.ts';
import { CommandLines } from '../../src/legacy/pop3-lines.ts';

async function* inChunks(text: string, size: number): AsyncGenerator<Uint8Array> {
  const octets = Buffer.from(text, 'latin1');
  for (let at = 0; at < octets.length; at += size) {
    const chunk = Buffer.from(octets.subarray(at, at + size));
    yield chunk;
    // Good until the next one is asked for.
    chunk.fill('?');
  }
}

async function sent(text: string, size: number, lines?: number): Promise<string> {
  let all = '';
  for await (const piece of await MessageBody.open(inChunks(text, size), lines)) all += piece.toString('latin1');
  return all;
}

const EACH = [1, 2, 3, 7, 1_000];

describe('RETR', () => {
  it.each([
    ['', '.\r\n'],
    ['a\r\n', 'a\r\n.\r\n'],
    ['a', 'a\r\n.\r\n'],
    ['a\n', 'a\r\n.\r\n'],
    ['a\r', 'a\r\n.\r\n'],
    ['a\nb\rc\r\n', 'a\r\nb\r\nc\r\n.\r\n'],
    ['\n\n', '\r\n\r\n.\r\n'],
    ['.', '..\r\n.\r\n'],
    ['.\r\n', '..\r\n.\r\n'],
    ['..\r\n', '...\r\n.\r\n'],
    ['a\r\n.\r\nb\r\n', 'a\r\n..\r\nb\r\n.\r\n'],
    ['a\n.\nb\n', 'a\r\n..\r\nb\r\n.\r\n'],
    ['a\r.b', 'a\r\n..b\r\n.\r\n'],
    ['a.b.\r\n', 'a.b.\r\n.\r\n'],
    ['.\r\n.\r\n.\r\n', '..\r\n..\r\n..\r\n.\r\n'],
    ['\xff\0.\r\n', '\xff\0.\r\n.\r\n'],
  ])('of %j sends %j', async (text, wanted) => {
    for (const size of EACH) expect(await sent(text, size)).toBe(wanted);
  });
});

describe('TOP', () => {
  const message = 'A: 1\r\n B\r\n\r\n.one\r\n\r\nthree\r\nfour';
  it.each([
    [message, 0, 'A: 1\r\n B\r\n\r\n.\r\n'],
    [message, 1, 'A: 1\r\n B\r\n\r\n..one\r\n.\r\n'],
    [message, 2, 'A: 1\r\n B\r\n\r\n..one\r\n\r\n.\r\n'],
    [message, 4, 'A: 1\r\n B\r\n\r\n..one\r\n\r\nthree\r\nfour\r\n.\r\n'],
    [message, 99, 'A: 1\r\n B\r\n\r\n..one\r\n\r\nthree\r\nfour\r\n.\r\n'],
    ['A: 1\r\n', 3, 'A: 1\r\n.\r\n'],
    ['A: 1', 0, 'A: 1\r\n.\r\n'],
    ['A: 1\n\nx\ny\n', 1, 'A: 1\r\n\r\nx\r\n.\r\n'],
    ['\r\nbody\r\n', 0, '\r\n.\r\n'],
    ['', 1, '.\r\n'],
  ])('of %j with %i lines sends %j', async (text, lines, wanted) => {
    for (const size of EACH) expect(await sent(text, size, lines)).toBe(wanted);
  });

  it('reads no further than it needs, and lets go', async () => {
    let read = 0;
    let isLetGo = false;
    const source = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          read++;
          yield Buffer.from('a\r\n\r\nb\r\n');
        }
      } finally {
        isLetGo = true;
      }
    };
    for await (const _piece of await MessageBody.open(source(), 1));
    expect({ read, isLetGo }).toEqual({ read: 1, isLetGo: true });
  });
});

/** Another way to the same. */
function reference(text: string, lines?: number): { wire: string; size: number } {
  const whole = text.replace(/\r\n|\r|\n/g, '\r\n');
  const canonical = whole === '' || whole.endsWith('\r\n') ? whole : `${whole}\r\n`;
  const all = canonical.split('\r\n').slice(0, -1);
  const end = all.indexOf('');
  const some = lines === undefined || end < 0 ? all : all.slice(0, end + 1 + lines);
  return {
    wire: `${some.map((line) => `${line.startsWith('.') ? '.' : ''}${line}\r\n`).join('')}.\r\n`,
    size: canonical.length,
  };
}

const text = fc.string({ unit: fc.constantFrom('\r', '\n', '\r\n', '.', 'a', '\xff', '\r\n.'), maxLength: 40 });

it('sends whatever it is as another way to do it has it', async () => {
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 1, max: 9 }), fc.option(fc.nat(5)), async (message, size, lines) => {
      const { wire, size: octets } = reference(message, lines ?? undefined);
      expect(await sent(message, size, lines ?? undefined)).toBe(wire);
      expect(await canonicalSize(inChunks(message, size))).toBe(octets);
    }),
    { numRuns: 300, seed: 1939 },
  );
});

it('lists ten thousand lines in parts', async () => {
  const lines = Array.from({ length: 10_000 }, (_, at) => `${at + 1} 1`);
  const parts: string[] = [];
  for await (const part of listing(lines)) parts.push(part.toString());
  expect(parts.length).toBeGreaterThan(10);
  expect(parts.join('')).toBe(`${lines.join('\r\n')}\r\n.\r\n`);
});

describe('command lines', () => {
  const read = (octets: string, size: number, longest: number): string[] => {
    const lines = new CommandLines();
    const all: string[] = [];
    for (let at = 0; at < octets.length; at += size) {
      lines.push(Buffer.from(octets.slice(at, at + size)));
      for (let line = lines.next(longest); line !== undefined; line = lines.next(longest)) all.push(line.toString());
    }
    return all;
  };

  it.each([
    ['NOOP\r\nSTAT\r\n', ['NOOP', 'STAT']],
    ['NOOP\nSTAT\nrest', ['NOOP', 'STAT']],
    ['\r\n\n', ['', '']],
    ['12345678\r\nx\r\n', ['12345678', 'x']],
    ['123456789\r\nx\r\n', ['too long', 'x']],
    [`${'1'.repeat(1_000)}\r\nx\r\n`, ['too long', 'x']],
  ])('of %j are %j', (octets, wanted) => {
    for (const size of EACH) expect(read(octets, size, 10)).toEqual(wanted);
  });
});
