/** How often a message has passed, as read from what the gateway left in it. */
import { describe, expect, it } from 'vitest';
import { splitHeader } from '../../src/mail/header.ts';
import { HOP_FIELD, hopField, passesOf } from '../../src/mail/hop.ts';

describe('hops', () => {
  it.each([
    ['none', 'Subject: x', 0],
    ['one', `${HOP_FIELD}: a.test`, 1],
    ['several fields', `${HOP_FIELD}: a.test\r\nx-smtp2exchange-hop: b.test`, 2],
    ['one field as a mailbox gives it back', `${HOP_FIELD}: a.test, b.test,\r\n c.test`, 3],
    ['both', `${HOP_FIELD}: a.test, a.test\r\n${HOP_FIELD}: a.test`, 3],
    ['empty', `${HOP_FIELD}:`, 0],
    ['a name that only begins so', `${HOP_FIELD}s: a.test`, 0],
  ])('%s', (_what, header, passes) => {
    expect(passesOf(splitHeader(Buffer.from(`${header}\r\n`)))).toBe(passes);
  });

  it('are counted as they are left', () => {
    expect(passesOf([hopField('a.test'), hopField('b.test')])).toBe(2);
  });
});
