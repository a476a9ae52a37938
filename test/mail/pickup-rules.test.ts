/** What becomes of a mail that was found in a mailbox. */
import { describe, expect, it } from 'vitest';
import { splitHeader } from '../../src/mail/header.ts';
import { HOP_FIELD } from '../../src/mail/hop.ts';
import type { Kind, PickupRules } from '../../src/mail/pickup-rules.ts';
import { kindsOf, pickupJudge } from '../../src/mail/pickup-rules.ts';
import type { ReceivedAttachment, ReceivedMail } from '../../src/mail/received.ts';

const RULES: PickupRules = {
  mailbox: 'fax@contoso.com',
  allow: ['*'],
  deny: [],
  insideOnly: false,
  maxSize: 1_000,
  attachments: { required: false, allow: ['*'], maxCount: 3, maxSize: 100 },
  kinds: {
    signed: 'deliver',
    encrypted: 'quarantine',
    meeting: 'skip',
    report: 'skip',
    automatic: 'skip',
    noSender: 'deliver',
    other: 'quarantine',
  },
  destinations: [{ in: 'plus', to: '$0@fax.local', digits: false }],
};
const TO = 'To: "Fax" <fax+4930@contoso.com>\r\n';
const ALICE = 'alice@contoso.com';

function mail({
  header = '',
  ...facts
}: Partial<Omit<ReceivedMail, 'header'>> & { readonly header?: string } = {}): ReceivedMail {
  const usual = {
    id: 'a',
    itemClass: 'IPM.Note',
    size: 10,
    receivedAt: 0,
    isRead: false,
    attachments: [],
    from: ALICE,
  };
  return { ...usual, header: splitHeader(Buffer.from(`${TO}${header}\r\n`)), ...facts };
}

function nobody({ from: _from, ...rest }: ReceivedMail): ReceivedMail {
  return rest;
}

function verdict(rules: Partial<PickupRules>, one: ReceivedMail): string {
  const judged = pickupJudge({ ...RULES, ...rules })(one);
  return judged.verdict === 'deliver' ? `deliver ${judged.recipients.join(' ')}` : `${judged.verdict} ${judged.cause}`;
}

const DELIVERED = 'deliver 4930@fax.local';

describe('a mail', () => {
  it.each<[string, readonly Kind[], ReceivedMail]>([
    ['ordinary', [], mail()],
    ['ordinary in capitals', [], mail({ itemClass: 'IPM.NOTE' })],
    ['of a form', [], mail({ itemClass: 'IPM.Note.Custom' })],
    ['of no class', [], mail({ itemClass: '' })],
    ['signed', ['signed'], mail({ itemClass: 'IPM.Note.SMIME.MultipartSigned' })],
    ['encrypted', ['encrypted'], mail({ itemClass: 'IPM.Note.SMIME' })],
    ['a request', ['meeting'], mail({ itemClass: 'IPM.Schedule.Meeting.Request' })],
    ['an NDR', ['report'], mail({ itemClass: 'REPORT.IPM.Note.NDR' })],
    ['a receipt without sender', ['report', 'noSender'], nobody(mail({ itemClass: 'REPORT.IPM.Note.IPNRN' }))],
    ['a post', ['other'], mail({ itemClass: 'IPM.Post' })],
    ['what only begins alike', ['other'], mail({ itemClass: 'IPM.Notebook' })],
    ['out of office', ['automatic'], mail({ itemClass: 'IPM.Note.Rules.OofTemplate.Microsoft' })],
    ['an answer', ['automatic'], mail({ header: 'Auto-Submitted: auto-replied (vacation)\r\n' })],
    ['of a program', [], mail({ header: 'Auto-Submitted: auto-generated\r\n' })],
    ['of a person', [], mail({ header: 'Auto-Submitted: no\r\n' })],
    ['of old programs', ['automatic'], mail({ header: 'X-Autoreply: yes\r\nPrecedence: auto_reply\r\n' })],
    ['of nobody', ['noSender'], mail({ from: '' })],
  ])('that is %s is of the kinds %o', (_, kinds, one) => {
    expect(kindsOf(one)).toEqual(kinds);
  });

  it.each<[string, Partial<PickupRules>, ReceivedMail, string]>([
    ['any', {}, mail(), DELIVERED],
    ['round and round', {}, mail({ header: `${HOP_FIELD}: a,b,c,d,e\r\n` }), 'quarantine loop'],
    ['round a few times', {}, mail({ header: `${HOP_FIELD}: a,b,c,d\r\n` }), DELIVERED],
    ['encrypted', {}, mail({ itemClass: 'IPM.Note.SMIME' }), 'quarantine encrypted'],
    ['automatic', {}, mail({ header: 'Auto-Submitted: auto-replied\r\n' }), 'skip automatic'],
    [
      'automatic, as any other',
      { kinds: { ...RULES.kinds, automatic: 'deliver' } },
      mail({ header: 'Auto-Submitted: auto-replied\r\n' }),
      DELIVERED,
    ],
    [
      'of two kinds',
      { kinds: { ...RULES.kinds, report: 'deliver', noSender: 'quarantine' } },
      nobody(mail({ itemClass: 'REPORT.IPM.Note.NDR' })),
      'quarantine noSender',
    ],
    ['allowed', { allow: ['@contoso.com'] }, mail(), DELIVERED],
    ['not allowed', { allow: ['@contoso.com'] }, mail({ from: 'a@evil.example' }), 'refuse sender'],
    ['denied', { deny: [ALICE] }, mail(), 'refuse sender'],
    ['of nobody, all allowed', {}, nobody(mail()), DELIVERED],
    ['of nobody, some allowed', { allow: ['@contoso.com'] }, nobody(mail()), 'refuse sender'],
    [
      'from inside',
      { insideOnly: true },
      mail({ header: 'X-MS-Exchange-Organization-AuthAs: Internal\r\n' }),
      DELIVERED,
    ],
    [
      'from outside',
      { insideOnly: true },
      mail({ header: 'X-MS-Exchange-Organization-AuthAs: Anonymous\r\n' }),
      'refuse outside',
    ],
    ['from wherever', { insideOnly: true }, mail(), 'refuse outside'],
    [
      'that says both',
      { insideOnly: true },
      mail({
        header: 'X-MS-Exchange-Organization-AuthAs: Internal\r\nX-MS-Exchange-Organization-AuthAs: Anonymous\r\n',
      }),
      'refuse outside',
    ],
    ['as large as may be', {}, mail({ size: 1_000 }), DELIVERED],
    ['too large', {}, mail({ size: 1_001 }), 'refuse size'],
    ['to nobody', { destinations: [{ in: 'fax', to: '$0@fax.local', digits: false }] }, mail(), 'refuse recipient'],
    [
      'to 101',
      { destinations: [{ in: 'subject', pattern: '[0-9]+', to: '$0@fax.local', digits: false }] },
      mail({ subject: Array.from({ length: 101 }, (_, index) => index).join(' ') }),
      'refuse recipient',
    ],
  ])('%s', (_, rules, one, expected) => {
    expect(verdict(rules, one)).toBe(expected);
  });

  const pdf = { name: 'Scan.PDF', type: 'application/pdf', size: 100, isInline: false };
  const logo = { name: 'logo.png', type: 'image/png', size: 5_000, isInline: true };
  const limits = (more: Partial<PickupRules['attachments']>): Partial<PickupRules> => ({
    attachments: { ...RULES.attachments, ...more },
  });
  it.each<[string, Partial<PickupRules>, readonly ReceivedAttachment[], string]>([
    ['by its name', limits({ allow: ['.pdf'] }), [pdf], DELIVERED],
    ['by its type', limits({ allow: ['application/pdf'] }), [pdf], DELIVERED],
    ['by half of its type', limits({ allow: ['application/*'] }), [pdf], DELIVERED],
    ['of another kind', limits({ allow: ['.tif', 'image/*'] }), [pdf], 'refuse attachment'],
    [
      'one of another kind beside it',
      limits({ allow: ['.pdf'] }),
      [pdf, { ...pdf, name: 'a.exe' }],
      'refuse attachment',
    ],
    [
      'without name and type',
      limits({ allow: ['.pdf', 'image/*'] }),
      [{ size: 1, isInline: false }],
      'refuse attachment',
    ],
    ['a picture in the text', limits({ allow: ['.pdf'] }), [pdf, logo], DELIVERED],
    ['a page that calls itself inline', limits({ allow: ['.tif'] }), [{ ...pdf, isInline: true }], 'refuse attachment'],
    ['none', {}, [], DELIVERED],
    ['none where one must be', limits({ required: true }), [], 'refuse attachment'],
    ['a picture where one must be', limits({ required: true }), [logo], 'refuse attachment'],
    ['three', {}, [pdf, pdf, pdf], DELIVERED],
    ['four', {}, [pdf, pdf, pdf, pdf], 'refuse attachment'],
    ['too large', {}, [{ ...pdf, size: 101 }], 'refuse attachment'],
  ])('with an attachment: %s', (_, rules, attachments, expected) => {
    expect(verdict(rules, mail({ attachments }))).toBe(expected);
  });

  it('that is signed is not looked into', () => {
    const one = mail({ itemClass: 'IPM.Note.SMIME.MultipartSigned', attachments: [{ ...pdf, name: 'smime.p7m' }] });
    expect(verdict(limits({ allow: ['.tif'], required: true }), one)).toBe(DELIVERED);
  });
});
