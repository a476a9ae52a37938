/** Mailboxes as they are written into address fields. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHeader } from '../../src/mail/addresses.ts';
import { renderMailbox } from '../../src/mail/display.ts';
import { headerField } from '../../src/mail/header.ts';

fc.configureGlobal({ seed: 534 });

describe('a mailbox', () => {
  it.each([
    ['', 'a@x.test'],
    [' \t ', 'a@x.test'],
    ['Anna', 'Anna <a@x.test>'],
    [' Anna  Doe ', 'Anna Doe <a@x.test>'],
    ["O'Neil & Sons", "O'Neil & Sons <a@x.test>"],
    ['Doe, John', '"Doe, John" <a@x.test>'],
    ['Dr. Doe', '"Dr. Doe" <a@x.test>'],
    ['b@y.test', '"b@y.test" <a@x.test>'],
    ['a "b" \\', '"a \\"b\\" \\\\" <a@x.test>'],
    ['a\r\nBcc: b', '"a Bcc: b" <a@x.test>'],
    ['a\0b', 'a b <a@x.test>'],
    ['Jürgen', '=?utf-8?B?SsO8cmdlbg==?= <a@x.test>'],
    ['=?utf-8?Q?a?=', '=?utf-8?B?PT91dGYtOD9RP2E/PQ==?= <a@x.test>'],
    ['\ud800', '=?utf-8?B?77+9?= <a@x.test>'],
  ])('named %j: %s', (name, written) => {
    expect(renderMailbox({ name, address: 'a@x.test' })).toBe(written);
  });

  it('is read as it was written, under any name; lines stay short', async () => {
    const address = fc.constantFrom('a@x.test', '"a@b"@x.test', 'FAX=+39055@x.test');
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), address, async (name, mailbox) => {
        const field = headerField('From', renderMailbox({ name, address: mailbox }));
        const { from } = await parseHeader([field]);
        expect(from.map((read) => read.address)).toEqual([mailbox]);
        expect(
          Math.max(
            ...field.raw
              .toString('latin1')
              .split('\r\n')
              .map((line) => line.length),
          ),
        ).toBeLessThan(100);
      }),
      { numRuns: 1000 },
    );
  });
});
