import { describe, expect, it } from 'vitest';
import { headerField } from '../../src/mail/header.ts';
import type { HeaderField } from '../../src/mail/header.ts';
import type { Kind, PickupRules } from '../../src/mail/pickup-rules.ts';
import { KINDS, kindsOf, pickupJudge } from '../../src/mail/pickup-rules.ts';
import type { ReceivedAttachment, ReceivedMail } from '../../src/mail/received.ts';

const header = (...lines: string[]): HeaderField[] =>
  lines.map((line) => headerField(line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)));
const mail = (more: Partial<ReceivedMail> = {}): ReceivedMail => ({
  id: 'a',
  itemClass: 'IPM.Note',
  size: 1_000,
  receivedAt: 0,
  isRead: false,
  from: 'alice@contoso.com',
  header: [],
  attachments: [],
  ...more,
});
const deliverAll = Object.fromEntries(KINDS.map((kind) => [kind, 'deliver'])) as PickupRules['kinds'];
const judge = (more: Partial<PickupRules> = {}) =>
  pickupJudge({
    mailbox: 'fax@contoso.com',
    allow: ['*'],
    deny: [],
    insideOnly: false,
    maxSize: 10_000,
    attachments: { required: false, allow: ['*'], maxCount: 10, maxSize: 5_000 },
    kinds: deliverAll,
    destinations: [{ in: 'always', to: 'fax@pbx.local', digits: false }],
    ...more,
  });
const DELIVER = { verdict: 'deliver', recipients: ['fax@pbx.local'] };
const refused = (cause: string) => expect.objectContaining({ verdict: 'refuse', cause });

describe('kinds', () => {
  it.each<[Partial<ReceivedMail>, Kind[]]>([
    [{}, []],
    [{ itemClass: '' }, []],
    [{ itemClass: 'IPM.Note.Custom' }, []],
    [{ itemClass: 'ipm.note.smime.multipartsigned' }, ['signed']],
    [{ itemClass: 'IPM.Note.SMIME' }, ['encrypted']],
    [{ itemClass: 'IPM.Schedule.Meeting.Request' }, ['meeting']],
    [{ itemClass: 'IPM.Appointment' }, ['meeting']],
    [{ itemClass: 'REPORT.IPM.Note.NDR' }, ['report']],
    [{ itemClass: 'Report.IPM.Note.IPNRN' }, ['report']],
    [{ itemClass: 'IPM.Post' }, ['other']],
    [{ itemClass: 'IPM.Notes' }, ['other']],
    [{ itemClass: 'IPM.Note.Rules.OofTemplate.Microsoft' }, ['automatic']],
    [{ header: header('Auto-Submitted: auto-replied; owner=x') }, ['automatic']],
    [{ header: header('Auto-Submitted: no') }, []],
    [{ header: header('Auto-Submitted: auto-generated') }, []],
    [{ header: header('Precedence: AUTO_REPLY') }, ['automatic']],
    [{ header: header('Precedence: bulk') }, []],
    [{ header: header('X-Autoreply: yes') }, ['automatic']],
    [{ header: header('X-Autorespond: no') }, []],
    [{ from: '' }, ['noSender']],
    [{ itemClass: 'REPORT.IPM.Note.DR', from: '' }, ['report', 'noSender']],
  ])('of %j', (given, kinds) => {
    expect(kindsOf(mail(given))).toEqual(kinds);
  });

  const { from: _, ...nobody } = mail();
  const examples: Record<Kind, ReceivedMail> = {
    signed: mail({ itemClass: 'IPM.Note.SMIME.MultipartSigned' }),
    encrypted: mail({ itemClass: 'IPM.Note.SMIME' }),
    meeting: mail({ itemClass: 'IPM.Schedule.Meeting.Canceled' }),
    report: mail({ itemClass: 'REPORT.IPM.Note.NDR' }),
    automatic: mail({ header: header('Auto-Submitted: auto-replied') }),
    noSender: nobody,
    other: mail({ itemClass: 'IPM.StickyNote' }),
  };
  it.each(KINDS)('%s: delivered, skipped or put aside, and no other kind is', (kind) => {
    expect(judge()(examples[kind])).toEqual(DELIVER);
    const skip = judge({ kinds: { ...deliverAll, [kind]: 'skip' } });
    expect(skip(examples[kind])).toEqual({ verdict: 'skip', cause: kind });
    const quarantine = judge({ kinds: { ...deliverAll, [kind]: 'quarantine' } });
    expect(quarantine(examples[kind])).toMatchObject({ verdict: 'quarantine', cause: kind });
    for (const other of KINDS.filter((one) => one !== kind)) expect(skip(examples[other])).toEqual(DELIVER);
  });
});

describe('whose mail is taken', () => {
  it.each<[Partial<PickupRules>, Partial<ReceivedMail>, unknown]>([
    [{ allow: ['*@contoso.com'] }, {}, DELIVER],
    [{ allow: ['*@contoso.com'] }, { from: 'Alice@CONTOSO.com' }, DELIVER],
    [{ allow: ['*@contoso.com'] }, { from: 'alice@contoso.com.evil.test' }, refused('sender')],
    [{ allow: ['*@contoso.com'] }, { from: '' }, refused('sender')],
    [{ allow: ['*'] }, { from: '' }, DELIVER],
    [{ deny: ['alice@contoso.com'] }, {}, refused('sender')],
    [{ deny: ['alice@contoso.com'] }, { from: '"alice"@contoso.com' }, refused('sender')],
    [{ deny: ['*'] }, { from: '' }, refused('sender')],
  ])('%j: %j', (rules, given, expected) => {
    expect(judge(rules)(mail(given))).toEqual(expected);
  });

  const AS = 'X-MS-Exchange-Organization-AuthAs';
  it('asks first whether a sender is inside: what it wrote into From says nothing otherwise', () => {
    const rules = { insideOnly: true, allow: ['@elsewhere.test'] };
    expect(judge(rules)(mail({}))).toMatchObject({ verdict: 'refuse', cause: 'outside' });
  });

  it.each([
    [[`${AS}: Internal`], true],
    [[`${AS.toLowerCase()}: INTERNAL`], true],
    [[`${AS}: Internal`, `${AS}: internal`], true],
    [[], false],
    [[`${AS}: Anonymous`], false],
    [[`${AS}: Internal`, `${AS}: Anonymous`], false],
    [[`${AS}: Anonymous`, `${AS}: Internal`], false],
    [[`${AS}: Internal, Anonymous`], false],
    [[`${AS}: Internal (really)`], false],
    [[`X-${AS}: Internal`], false],
    [['X-MS-Exchange-CrossTenant-AuthAs: Internal'], false],
  ])('only from inside: %j is so: %s', (lines, isInside) => {
    const verdict = judge({ insideOnly: true })(mail({ header: header(...lines) }));
    expect(verdict).toEqual(isInside ? DELIVER : refused('outside'));
  });
});

describe('attachments', () => {
  const pdf: ReceivedAttachment = { name: 'Page.PDF', type: 'application/pdf', size: 10, isInline: false };
  const tiff: ReceivedAttachment = { name: 'page.tif', type: 'image/tiff', size: 10, isInline: false };
  const logo: ReceivedAttachment = { name: 'logo.png', type: 'image/png', size: 10, isInline: true };
  const rules = { required: false, allow: ['*'], maxCount: 2, maxSize: 100 };
  it.each<[Partial<typeof rules>, ReceivedAttachment[], unknown]>([
    [{}, [], DELIVER],
    [{ required: true }, [], refused('attachment')],
    [{ required: true }, [pdf], DELIVER],
    [{ required: true }, [logo], refused('attachment')],
    [{ required: true }, [{ ...tiff, isInline: true }], DELIVER],
    [{ allow: ['.pdf'] }, [pdf], DELIVER],
    [{ allow: ['.PDF'] }, [pdf], DELIVER],
    [{ allow: ['.pdf'] }, [tiff], refused('attachment')],
    [{ allow: ['.pdf'] }, [pdf, tiff], refused('attachment')],
    [{ allow: ['.pdf'] }, [{ ...pdf, name: 'a.pdf.exe' }], refused('attachment')],
    [{ allow: ['.pdf'] }, [{ type: 'application/pdf', size: 1, isInline: false }], refused('attachment')],
    [{ allow: ['image/*'] }, [tiff], DELIVER],
    [{ allow: ['image/*'] }, [{ ...tiff, type: 'imagery/x' }], refused('attachment')],
    [{ allow: ['image/tiff', 'application/pdf'] }, [tiff, pdf], DELIVER],
    [{ allow: ['image/tiff'] }, [{ name: 'x', size: 1, isInline: false }], refused('attachment')],
    [{ allow: [] }, [pdf], refused('attachment')],
    [{ allow: ['.pdf'] }, [logo], DELIVER],
    [{ allow: ['.pdf'] }, [{ ...logo, type: 'application/x-msdownload' }], refused('attachment')],
    [{}, [pdf, pdf, pdf], refused('attachment')],
    [{}, [pdf, pdf, logo, logo], DELIVER],
    [{}, [{ ...pdf, size: 101 }], refused('attachment')],
    [{}, [{ ...pdf, size: 100 }], DELIVER],
  ])('%j: %j', (some, attachments, expected) => {
    expect(judge({ attachments: { ...rules, ...some } })(mail({ attachments }))).toEqual(expected);
  });

  it('of signed and encrypted mail are the mail itself', () => {
    const smime: ReceivedAttachment = { name: 'smime.p7m', type: 'multipart/signed', size: 1_000, isInline: false };
    for (const itemClass of ['IPM.Note.SMIME', 'IPM.Note.SMIME.MultipartSigned'])
      expect(judge({ attachments: { ...rules, allow: ['.pdf'] } })(mail({ itemClass, attachments: [smime] }))).toEqual(
        DELIVER,
      );
  });
});

describe('the rest', () => {
  it('is the size', () => {
    expect(judge()(mail({ size: 10_000 }))).toEqual(DELIVER);
    expect(judge()(mail({ size: 10_001 }))).toEqual(refused('size'));
  });

  it('is a circle', () => {
    const hops = (count: number) => header(...Array.from({ length: count }, () => 'X-SMTP2Exchange-Hop: a.test'));
    expect(judge()(mail({ header: hops(4) }))).toEqual(DELIVER);
    expect(judge()(mail({ header: hops(5) }))).toMatchObject({ verdict: 'quarantine', cause: 'loop' });
    expect(judge()(mail({ header: header('X-SMTP2Exchange-Hop: a, b, c, d, e') }))).toMatchObject({ cause: 'loop' });
  });

  it('is whom it is for: To and Cc, and no field that a sender can hide', () => {
    const destinations = [
      { in: 'recipient', pattern: '^([0-9]+)@fax.contoso.com$', to: '$1@pbx.local', digits: false } as const,
    ];
    const given = header(
      'To: "x, 9@fax.contoso.com" <1@fax.contoso.com>, group: 2@fax.contoso.com;',
      'Cc: 3@fax.contoso.com',
      'Bcc: 4@fax.contoso.com',
      'X-To: 5@fax.contoso.com',
    );
    expect(judge({ destinations })(mail({ header: given }))).toEqual({
      verdict: 'deliver',
      recipients: ['1@pbx.local', '2@pbx.local', '3@pbx.local'],
    });
    expect(judge({ destinations })(mail())).toEqual(refused('recipient'));
    const many = header(...Array.from({ length: 101 }, (_, at) => `To: ${at}@fax.contoso.com`));
    expect(judge({ destinations })(mail({ header: many.slice(1) }))).toMatchObject({ verdict: 'deliver' });
    expect(judge({ destinations })(mail({ header: many }))).toEqual(refused('recipient'));
  });
});
