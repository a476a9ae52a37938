/** Addresses without a domain, as old software writes them. */
import { describe, expect, it } from 'vitest';
import { completeAddresses } from '../../src/mail/complete.ts';
import { splitHeader } from '../../src/mail/header.ts';

describe('an address field', () => {
  it.each<[string, string, string, boolean]>([
    ['of HylaFAX', 'From: The HylaFAX Receive Agent <fax>', 'From: The HylaFAX Receive Agent <fax@contoso.com>', true],
    ['with a bare local part', 'To: FaxMaster', 'To: FaxMaster@contoso.com', true],
    ['in brackets', 'Cc: <ops>', 'Cc: ops@contoso.com', true],
    ['of a message passed on', 'Resent-From: root', 'Resent-From: root@contoso.com', true],
    ['of several, one without', 'To: a@x.test, fax', 'To: a@x.test, fax@contoso.com', true],
    ['that is complete', 'From: "A, B" <a@x.test>', 'From: "A, B" <a@x.test>', false],
    ['with a word of two', 'To: Fax Master', 'To: Fax Master', false],
    ['of cron', 'From: root (Cron Daemon)', 'From: Cron Daemon <root@contoso.com>', true],
    ['with a comment that is encoded', 'From: root (=?utf-8?Q?=C3=BC?=)', 'From: root@contoso.com', true],
    ['with a comment among several', 'To: root (Cron), fax', 'To: root@contoso.com, fax@contoso.com', true],
    ['of dots only', 'To: ...', 'To: ...', false],
    ['with a dot at its end', 'To: fax.', 'To: fax.', false],
    ['that is empty', 'From:', 'From:', false],
    ['with an empty group', 'To: undisclosed-recipients:;', 'To: undisclosed-recipients:;', false],
    ['beside what cannot be read', 'To: fax, "x <a"@b.c>', 'To: fax, "x <a"@b.c>', false],
    ['of no interest', 'X-From: fax', 'X-From: fax', false],
    ['with odd characters of a fax number', 'To: #31#0612', 'To: #31#0612@contoso.com', true],
  ])('%s', (_what, before, after, isChanged) => {
    const [field] = splitHeader(Buffer.from(`${before}\r\n`));
    if (field === undefined) throw new Error('no field');
    const { fields, changed } = completeAddresses([field], 'contoso.com');
    expect(fields[0]?.raw.toString()).toBe(`${after}\r\n`);
    expect(changed.length).toBe(isChanged ? 1 : 0);
    expect(fields[0] === field).toBe(!isChanged);
  });
});
