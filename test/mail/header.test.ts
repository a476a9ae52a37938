/** The header block as octets: taken apart, put together, written, read, and found in a stream however it is cut. */
import * as fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fieldValue, headerField, HeaderPeeler, joinHeader, splitHeader } from '../../src/mail/header.ts';
import type { HeaderField } from '../../src/mail/header.ts';
import { cost, LARGE, LINEAR } from './cost.ts';

fc.configureGlobal({ seed: 5322 });

const octets = (text: string): Buffer => Buffer.from(text, 'latin1');
const text = (buffer: Uint8Array): string => Buffer.from(buffer).toString('latin1');

/** Octets that matter to the syntax come often, all others too. */
const hostile = fc
  .array(
    fc.oneof(
      { arbitrary: fc.constantFrom('\r\n', '\n', '\r', '\r\n\r\n', ' ', '\t', ':', 'To', 'a', '\0'), weight: 6 },
      { arbitrary: fc.uint8Array({ maxLength: 4 }).map(text), weight: 1 },
    ),
    { maxLength: 30 },
  )
  .map((parts) => octets(parts.join('')));

/** Where the block ends, by the definition and not by the code: after the first empty line, or nowhere. */
function blockEnd(message: Buffer): number | undefined {
  const found = /(?:^|\n)\r?\n/.exec(text(message));
  return found === null ? undefined : found.index + found[0].length;
}

describe('taking a block apart', () => {
  interface Case {
    readonly what: string;
    readonly block: string;
    /** Name and octets of each field. */
    readonly fields: readonly (readonly [string, string])[];
  }
  const cases: readonly Case[] = [
    { what: 'an empty block', block: '', fields: [] },
    { what: 'only the empty line', block: '\r\n', fields: [] },
    { what: 'only the empty line, bare LF', block: '\n', fields: [] },
    {
      what: 'CRLF',
      block: 'From: a\r\nTo: b\r\n\r\n',
      fields: [
        ['from', 'From: a\r\n'],
        ['to', 'To: b\r\n'],
      ],
    },
    {
      what: 'bare LF',
      block: 'From: a\nTo: b\n\n',
      fields: [
        ['from', 'From: a\n'],
        ['to', 'To: b\n'],
      ],
    },
    {
      what: 'both mixed',
      block: 'From: a\nTo: b\r\nCc: c\n\r\n',
      fields: [
        ['from', 'From: a\n'],
        ['to', 'To: b\r\n'],
        ['cc', 'Cc: c\n'],
      ],
    },
    { what: 'a bare CR ends no line', block: 'A: x\rB: y\r\n', fields: [['a', 'A: x\rB: y\r\n']] },
    {
      what: 'two CR before LF are no empty line',
      block: 'A: x\r\n\r\r\nB: y\r\n',
      fields: [
        ['a', 'A: x\r\n'],
        ['', '\r\r\n'],
        ['b', 'B: y\r\n'],
      ],
    },
    { what: 'a CR at the end', block: 'A: x\r', fields: [['a', 'A: x\r']] },
    {
      what: 'a lone CR as the last line',
      block: 'A: x\r\n\r',
      fields: [
        ['a', 'A: x\r\n'],
        ['', '\r'],
      ],
    },
    {
      what: 'folded with space and with tab',
      block: 'To: a,\r\n b,\n\tc\r\nCc: d\r\n',
      fields: [
        ['to', 'To: a,\r\n b,\n\tc\r\n'],
        ['cc', 'Cc: d\r\n'],
      ],
    },
    {
      what: 'folded before the first word',
      block: 'Subject:\r\n x\r\n',
      fields: [['subject', 'Subject:\r\n x\r\n']],
    },
    {
      what: 'a line of white space only goes on with the field and is not the end',
      block: 'To: a\r\n \r\nCc: b\r\n',
      fields: [
        ['to', 'To: a\r\n \r\n'],
        ['cc', 'Cc: b\r\n'],
      ],
    },
    {
      what: 'white space before the colon',
      block: 'To : a\r\nCc\t \t: b\r\n',
      fields: [
        ['to', 'To : a\r\n'],
        ['cc', 'Cc\t \t: b\r\n'],
      ],
    },
    {
      what: 'names in any case',
      block: 'MESSAGE-ID: a\r\nmEsSaGe-Id: b\r\n',
      fields: [
        ['message-id', 'MESSAGE-ID: a\r\n'],
        ['message-id', 'mEsSaGe-Id: b\r\n'],
      ],
    },
    {
      what: 'a name may hold any printable ASCII',
      block: '!"#$%&\'()*+,-./<=>?@[]^_`{|}~: x\r\n',
      fields: [['!"#$%&\'()*+,-./<=>?@[]^_`{|}~', '!"#$%&\'()*+,-./<=>?@[]^_`{|}~: x\r\n']],
    },
    {
      what: 'lines that are no fields',
      block: 'hello\r\nhello world: x\r\n: x\r\nT\xf6: x\r\nA\0: x\r\nTo: a\r\n',
      fields: [
        ['', 'hello\r\n'],
        ['', 'hello world: x\r\n'],
        ['', ': x\r\n'],
        ['', 'T\xf6: x\r\n'],
        ['', 'A\0: x\r\n'],
        ['to', 'To: a\r\n'],
      ],
    },
    {
      what: 'a line that is no field is folded like one, and a colon in its second line names nothing',
      block: 'junk\r\n To: a\r\n',
      fields: [['', 'junk\r\n To: a\r\n']],
    },
    {
      what: 'a block that begins with a folded line',
      block: ' To: a\r\nCc: b\r\n',
      fields: [
        ['', ' To: a\r\n'],
        ['cc', 'Cc: b\r\n'],
      ],
    },
    {
      what: 'an mbox line, although it holds colons',
      block: 'From fax@pbx Mon Jan  1 10:00:00 2024\nTo: a\n',
      fields: [
        ['', 'From fax@pbx Mon Jan  1 10:00:00 2024\n'],
        ['to', 'To: a\n'],
      ],
    },
    { what: 'NUL and octets above ASCII', block: 'A: \0\x80\xff\r\n', fields: [['a', 'A: \0\x80\xff\r\n']] },
    {
      what: 'no line end at the end',
      block: 'A: x\r\nB: y',
      fields: [
        ['a', 'A: x\r\n'],
        ['b', 'B: y'],
      ],
    },
    { what: 'a field without value', block: 'To:\r\n', fields: [['to', 'To:\r\n']] },
    { what: 'nothing after the empty line is read', block: 'A: x\r\n\r\nB: y\r\n', fields: [['a', 'A: x\r\n']] },
  ];

  it.each(cases)('$what', ({ block, fields }) => {
    expect(splitHeader(octets(block)).map(({ name, raw }) => [name, text(raw)])).toEqual(fields);
  });

  it('takes a Uint8Array that is a part of another', () => {
    const whole = new Uint8Array(octets('xxA: y\r\nxx'));
    expect(splitHeader(whole.subarray(2, 8)).map(({ raw }) => text(raw))).toEqual(['A: y\r\n']);
  });

  it('loses and invents no octet, whatever the block', () => {
    fc.assert(
      fc.property(hostile, (message) => {
        const end = blockEnd(message);
        const block = end === undefined ? message : message.subarray(0, end);
        const joined = text(Buffer.concat(splitHeader(message).map(({ raw }) => raw)));
        expect(text(block)).toBe(end === undefined ? joined : joined + (text(block).endsWith('\r\n') ? '\r\n' : '\n'));
      }),
      { numRuns: 2000 },
    );
  });

  it('gives every field a name that could be one, or none', () => {
    fc.assert(
      fc.property(hostile, (message) => {
        for (const { name, raw } of splitHeader(message)) {
          expect(name).toMatch(/^[!-9;-@[-~]*$/);
          expect(raw.length).toBeGreaterThan(0);
        }
      }),
    );
  });

  it('does not spend more on white space before a colon than on other octets', async () => {
    const block = octets(`a${' '.repeat(LARGE)}b: c\r\n`);
    expect(await cost(() => splitHeader(block))).toBeLessThan(LINEAR);
    expect(splitHeader(block)[0]?.name).toBe('');
  });
});

describe('putting a block together', () => {
  it.each([
    ['a block with its empty line, octet for octet', 'A: x\r\nB: y\r\n z\r\n\r\n', 'A: x\r\nB: y\r\n z\r\n\r\n'],
    ['bare LF stays, the empty line is ours', 'A: x\nB: y\n\n', 'A: x\nB: y\n\r\n'],
    ['a last field without line end', 'A: x\r\nB: y', 'A: x\r\nB: y\r\n\r\n'],
    ['a last field that ends with CR', 'A: x\r', 'A: x\r\r\n\r\n'],
    ['no field', '', '\r\n'],
  ])('%s', (_, block, joined) => {
    expect(text(joinHeader(splitHeader(octets(block))))).toBe(joined);
  });

  it('does not run fields together that came without line ends', () => {
    const fields = ['A: x', 'B: y'].flatMap((line) => splitHeader(octets(line)));
    expect(text(joinHeader(fields))).toBe('A: x\r\nB: y\r\n\r\n');
  });

  it('is read back as the same fields', () => {
    fc.assert(
      fc.property(hostile, (message) => {
        const fields = splitHeader(message);
        const ended = fields.map(({ name, raw }) => [name, text(raw).replace(/(?<!\n)$/, '\r\n')]);
        expect(splitHeader(joinHeader(fields)).map(({ name, raw }) => [name, text(raw)])).toEqual(ended);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('writing a field', () => {
  it.each([
    ['Subject', 'Hello', 'Subject: Hello\r\n'],
    ['Subject', '', 'Subject:\r\n'],
    ['Subject', ' \t ', 'Subject:\r\n'],
    ['Subject', ' \tHello \t', 'Subject: Hello\r\n'],
    ['Subject', 'two  blanks\tand a tab', 'Subject: two  blanks\tand a tab\r\n'],
    ['X-Name', 'Jürgen 用户', 'X-Name: Jürgen 用户\r\n'],
    ['X!#$', 'x', 'X!#$: x\r\n'],
  ])('%s with %j', (name, value, raw) => {
    const field = headerField(name, value);
    expect(field.name).toBe(name.toLowerCase());
    expect(field.raw.toString()).toBe(raw);
  });

  it.each(['', 'To:', 'To ', ' To', 'T o', 'Tö', 'To\r\nBcc', 'T\0', 'T\x7f'])('refuses the name %j', (name) => {
    expect(() => headerField(name, 'x')).toThrow(TypeError);
  });

  const controls = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code)).filter((character) =>
    // oxlint-disable-next-line no-control-regex -- that is what is tested
    /[\x00-\x08\x0a-\x1f\x7f]/.test(character),
  );

  it('knows 32 control characters', () => {
    expect(controls.length).toBe(32);
  });

  it.each(controls.map((character) => [JSON.stringify(character), character]))(
    'refuses %s anywhere',
    (_, character) => {
      for (const value of [character, `${character}x`, `x${character}`, `x ${character} y`]) {
        expect(() => headerField('X', value)).toThrow(TypeError);
      }
    },
  );

  it('does not repeat the value in what it throws', () => {
    expect(() => headerField('X-Token', 'secret\n')).toThrow(/^control character in the value of X-Token$/);
  });

  it('folds at 78 characters, at white space and nowhere else', () => {
    const words = Array.from({ length: 40 }, (_, n) => `word${n}`).join(' ');
    const lines = headerField('Subject', words).raw.toString().split('\r\n');
    expect(lines.pop()).toBe('');
    expect(lines.length).toBe(4);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(78);
    for (const line of lines.slice(1)) expect(line).toMatch(/^ word/);
    expect(lines.join('')).toBe(`Subject: ${words}`);
  });

  it.each([
    ['78 characters are one line', 78 - 'S: a '.length, false],
    ['79 are two', 79 - 'S: a '.length, true],
  ])('%s', (_, length, folds) => {
    const raw = headerField('S', `a ${'x'.repeat(length)}`).raw.toString();
    expect(raw.includes('\r\n ')).toBe(folds);
  });

  it('keeps a long first word on the first line, and a long word whole', () => {
    const long = 'x'.repeat(200);
    expect(headerField('S', long).raw.toString()).toBe(`S: ${long}\r\n`);
    expect(headerField('S', `a ${long} b`).raw.toString()).toBe(`S: a\r\n ${long}\r\n b\r\n`);
  });

  it('is one field, read back as it was written, within its lines, for any text', () => {
    const value = fc
      .array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 30 }), fc.constantFrom(' ', '\t', '   ', ':')), {
        maxLength: 40,
      })
      // oxlint-disable-next-line no-control-regex -- they are refused
      .map((parts) => parts.join('').replace(/[\x00-\x08\x0a-\x1f\x7f]/g, ''));
    fc.assert(
      fc.property(value, (value) => {
        const field = headerField('X-Test', value);
        const fields = splitHeader(joinHeader([field]));
        expect(fields.map(({ name }) => name)).toEqual(['x-test']);
        expect(fieldValue(field)).toBe(value.replace(/^[ \t]+|[ \t]+$/g, ''));
        const lines = field.raw.toString().split('\r\n').slice(0, -1);
        for (const [index, line] of lines.entries()) {
          expect(line.trim()).not.toBe('');
          // Longer only where no white space was left to fold at.
          const words = (index === 0 ? line.slice('X-Test:'.length) : line).match(/[ \t]+[^ \t]+/g) ?? [];
          expect(words.length > 1 ? line.length : 0).toBeLessThanOrEqual(78);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('does not spend more on white space than on words', async () => {
    const value = `a${' '.repeat(LARGE)}b`;
    expect(await cost(() => headerField('X', value))).toBeLessThan(LINEAR);
  });
});

describe('reading a value', () => {
  it.each([
    ['plain', 'A: x y\r\n', 'x y'],
    ['no space after the colon', 'A:x\r\n', 'x'],
    ['a colon in the value', 'A: b: c\r\n', 'b: c'],
    ['space before the colon', 'A : b: c\r\n', 'b: c'],
    ['unfolded: only the line end goes', 'A: x\r\n  y\r\n\tz\r\n', 'x  y\tz'],
    ['unfolded, bare LF', 'A: x\n y\n', 'x y'],
    ['folded before the first word', 'A:\r\n x\r\n', 'x'],
    ['white space around', 'A: \t x \t \r\n', 'x'],
    ['a line of white space at its end', 'A: x\r\n \r\n', 'x'],
    ['empty', 'A:\r\n', ''],
    ['white space only', 'A: \t\r\n \r\n', ''],
    ['no line end', 'A: x', 'x'],
    ['a bare CR within', 'A: x\ry\r\n', 'x\ry'],
    ['CR at its ends', 'A: \r x\r\r\n', 'x'],
    ['NUL', 'A: x\0y\r\n', 'x\0y'],
    ['other white space is text', 'A: \v\f\r\n', '\v\f'],
    ['a line that is no field is its own value', 'hello world: x\r\n', 'hello world: x'],
  ])('%s', (_, raw, value) => {
    const [field] = splitHeader(octets(raw));
    expect(field && fieldValue(field)).toBe(value);
  });

  it.each([
    ['UTF-8', Buffer.from('A: Jürgen 用户 😀\r\n'), 'Jürgen 用户 😀'],
    ['Latin-1', octets('A: J\xfcrgen\r\n'), 'Jürgen'],
    ['windows-1252', octets('A: \x93J\xfcrgen\x94 \x96 \x80 \x9f \xa0x\r\n'), '“Jürgen” – € Ÿ \xa0x'],
    [
      'one octet that is not UTF-8 makes all of it Latin-1',
      Buffer.concat([Buffer.from('A: ü'), octets(' \xfc\r\n')]),
      'Ã¼ ü',
    ],
    ['a UTF-8 sequence cut by folding is Latin-1, and no octet is lost', octets('A: \xc3\r\n \xbc\r\n'), '\xc3 \xbc'],
    ['a no-break space around it is text', Buffer.from('A: \u00a0x\u00a0\r\n'), '\u00a0x\u00a0'],
  ])('%s', (_, raw, value) => {
    const [field] = splitHeader(raw);
    expect(field && fieldValue(field)).toBe(value);
  });

  it('fails for no octets', () => {
    fc.assert(
      fc.property(hostile, (message) => {
        for (const field of splitHeader(message)) expect(fieldValue(field)).not.toContain('\n');
      }),
    );
  });

  it.each([' ', '\t', '\r'])('does not spend more on %j than on other octets', async (blank) => {
    const field: HeaderField = { name: 'a', raw: octets(`A: b${blank.repeat(LARGE)}c${blank.repeat(LARGE)}\r\n`) };
    expect(await cost(() => fieldValue(field))).toBeLessThan(LINEAR);
    expect(fieldValue(field)).toBe(`b${blank.repeat(LARGE)}c`);
  });
});

// --- the stream -----------------------------------------------------------------------------------------------------

interface Peeled {
  readonly header: string;
  /** Of the chunk that ended the header and all chunks after it. */
  readonly rest: string;
  readonly overflow: boolean;
}

function peel(chunks: readonly Uint8Array[], limit = 1000): Peeled {
  const peeler = new HeaderPeeler(limit);
  for (const [index, chunk] of chunks.entries()) {
    const found = peeler.push(chunk);
    if (peeler.overflow && !found) return { header: '', rest: '', overflow: true };
    if (found) {
      const rest = [found.rest, ...chunks.slice(index + 1)].map(text).join('');
      return { header: text(found.header), rest, overflow: peeler.overflow };
    }
  }
  const { header, rest } = peeler.end();
  return { header: text(header), rest: text(rest), overflow: false };
}

function cut(message: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    chunks.push(message.subarray(at, at + size));
    at += size;
  }
  chunks.push(message.subarray(at));
  return chunks;
}

describe('peeling the header off a stream', () => {
  it.each([
    ['CRLF', 'A: x\r\n\r\nbody', 'A: x\r\n\r\n', 'body'],
    ['bare LF', 'A: x\n\nbody', 'A: x\n\n', 'body'],
    ['mixed', 'A: x\n\r\nbody', 'A: x\n\r\n', 'body'],
    ['an empty header', '\r\nbody', '\r\n', 'body'],
    ['an empty header, bare LF', '\nbody', '\n', 'body'],
    ['no body', 'A: x\r\n\r\n', 'A: x\r\n\r\n', ''],
    ['no empty line', 'A: x\r\nB: y', 'A: x\r\nB: y', ''],
    ['nothing', '', '', ''],
    ['a line of white space is not empty', 'A: x\r\n \r\nB: y\r\n\r\n', 'A: x\r\n \r\nB: y\r\n\r\n', ''],
    ['two CR before LF are not empty', 'A: x\r\n\r\r\n\r\nbody', 'A: x\r\n\r\r\n\r\n', 'body'],
    ['bare CRs end nothing', 'A: x\r\rB: y\r\n\r\nbody', 'A: x\r\rB: y\r\n\r\n', 'body'],
    ['the second empty line is body', 'A: x\r\n\r\n\r\n', 'A: x\r\n\r\n', '\r\n'],
    ['NUL', 'A: \0\r\n\0\r\n\r\nbody', 'A: \0\r\n\0\r\n\r\n', 'body'],
  ])('%s: in one chunk, in single octets, with empty chunks', (_, message, header, rest) => {
    const whole = octets(message);
    expect(peel([whole])).toEqual({ header, rest, overflow: false });
    expect(
      peel(
        cut(
          whole,
          Array.from(whole, () => 1),
        ),
      ),
    ).toEqual({ header, rest, overflow: false });
    expect(
      peel(
        cut(
          whole,
          Array.from({ length: 2 * whole.length }, (_, n) => n % 2),
        ),
      ),
    ).toEqual({
      header,
      rest,
      overflow: false,
    });
  });

  it('finds the same however the stream is cut, within the limit and beyond', () => {
    fc.assert(
      fc.property(
        hostile,
        fc.array(fc.nat({ max: 5 }), { maxLength: 60 }),
        fc.nat({ max: 60 }),
        (message, sizes, limit) => {
          const end = blockEnd(message) ?? message.length;
          const expected =
            end > limit
              ? { header: '', rest: '', overflow: true }
              : { header: text(message.subarray(0, end)), rest: text(message.subarray(end)), overflow: false };
          expect(peel([message], limit)).toEqual(expected);
          expect(peel(cut(message, sizes), limit)).toEqual(expected);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('agrees with the taking apart about where the block ends', () => {
    fc.assert(
      fc.property(hostile, (message) => {
        const { header } = peel([message]);
        const fields = (block: Buffer): string[] => splitHeader(block).map(({ raw }) => text(raw));
        expect(fields(octets(header))).toEqual(fields(message));
      }),
    );
  });

  it('takes a Uint8Array that is a part of another', () => {
    const whole = new Uint8Array(octets('xxA: y\n\nbody'));
    expect(peel([whole.subarray(2)])).toEqual({ header: 'A: y\n\n', rest: 'body', overflow: false });
  });

  it('passes the body on as it came, not as a copy', () => {
    const peeler = new HeaderPeeler(100);
    expect(peeler.push(octets('A: x\r\n'))).toBeUndefined();
    const last = octets('\r\nbody');
    const found = peeler.push(last);
    expect(found && text(found.header)).toBe('A: x\r\n\r\n');
    expect(found?.rest.buffer).toBe(last.buffer);
  });

  describe('the limit', () => {
    const message = octets('A: x\r\n\r\nbody');

    it('counts the empty line and not the body', () => {
      expect(peel([message], 8)).toEqual({ header: 'A: x\r\n\r\n', rest: 'body', overflow: false });
      expect(peel([message], 7).overflow).toBe(true);
    });

    it('may be reached exactly by a message that is all header', () => {
      expect(peel([octets('A: x\r\n')], 6)).toEqual({ header: 'A: x\r\n', rest: '', overflow: false });
      expect(peel([octets('A: x\r\n')], 5).overflow).toBe(true);
    });

    it('holds from the first chunk that passes it: nothing is found afterwards', () => {
      const peeler = new HeaderPeeler(10);
      expect(peeler.overflow).toBe(false);
      expect(peeler.push(octets('A: 4567890'))).toBeUndefined();
      expect(peeler.overflow).toBe(false);
      expect(peeler.push(octets('1'))).toBeUndefined();
      expect(peeler.overflow).toBe(true);
      expect(peeler.push(octets('\r\n\r\nbody'))).toBeUndefined();
      const { header, rest } = peeler.end();
      expect([text(header), text(rest), peeler.overflow]).toEqual(['', '', true]);
    });
  });

  it('cannot be used after the end', () => {
    const found = new HeaderPeeler(100);
    found.push(octets('\r\n'));
    expect(() => found.push(octets('x'))).toThrow(/ended already/);
    expect(() => found.end()).toThrow(/ended already/);
    const over = new HeaderPeeler(100);
    over.end();
    expect(() => over.push(octets('x'))).toThrow(/ended already/);
    expect(() => over.end()).toThrow(/ended already/);
  });

  describe('costs', () => {
    afterEach(() => {
      vi.restoreAllMocks();
    });

    /** Octets copied and searched while a header comes in chunks of the given size. */
    function work(total: number, size: number): { copied: number; searched: number } {
      const chunk = Buffer.alloc(size, 'x');
      chunk[size - 1] = 0x0a;
      const peeler = new HeaderPeeler(total + 2);
      const copy = vi.spyOn(Buffer.prototype, 'copy');
      const indexOf = vi.spyOn(Buffer.prototype, 'indexOf');
      for (let sent = 0; sent < total; sent += size) peeler.push(size === 1 ? octets('x') : chunk);
      const found = peeler.push(octets('\n\n'));
      expect(found?.header.length).toBe(total + (size === 1 ? 2 : 1));
      const copied = copy.mock.results.reduce((sum, { value }) => sum + Number(value), 0);
      // From where the search began to where it found something.
      const searched = indexOf.mock.contexts.reduce<number>((sum, context, index) => {
        const from = Number(indexOf.mock.calls[index]?.[1]);
        const at = Number(indexOf.mock.results[index]?.value);
        return sum + (at < 0 ? context.length : at + 1) - from;
      }, 0);
      vi.restoreAllMocks();
      return { copied, searched };
    }

    it.each([
      [8 * 1024, 1],
      [32 * 1024, 1],
      [256 * 1024, 64],
      [4 * 1024 * 1024, 16 * 1024],
    ])('%i octets in chunks of %i: each searched once and copied a few times at most', (total, size) => {
      const { copied, searched } = work(total, size);
      expect(searched).toBeLessThanOrEqual(total + 2);
      expect(copied).toBeGreaterThanOrEqual(total);
      expect(copied).toBeLessThanOrEqual(3 * total + 2048);
    });

    it('copies nothing of a header that comes in one chunk', () => {
      const copy = vi.spyOn(Buffer.prototype, 'copy');
      expect(peel([octets('A: x\r\n\r\nbody')]).header).toBe('A: x\r\n\r\n');
      expect(copy).not.toHaveBeenCalled();
    });

    it('reserves no more than the limit asks for', () => {
      const allocate = vi.spyOn(Buffer, 'allocUnsafe');
      const peeler = new HeaderPeeler(100_000);
      for (let sent = 0; sent < 100_000; sent += 1000) peeler.push(Buffer.alloc(1000, 'x'));
      expect(Math.max(...allocate.mock.calls.map(([size]) => size))).toBe(100_000);
    });
  });
});
