/** Rules of a pickup from the mailbox to what is handed over: who may send, who gets it, which kinds, what becomes of the mail. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InsideGateway } from './inside.ts';
import type { MailFacts, Sandbox } from './pickup-site.ts';
import {
  ALICE,
  BOB,
  faxSandbox,
  FAX,
  handedIds,
  handedOver,
  lying,
  mail,
  pickingUp,
  until,
  user,
} from './pickup-site.ts';
import type { Folder } from './process.ts';
import { folder } from './process.ts';

const WAYS = ['ews', 'graph'] as const;
type Way = (typeof WAYS)[number];

let place: Folder;
let sandbox: Sandbox;
let gateway: InsideGateway | undefined;
let out: string;

beforeEach(async () => {
  place = folder();
  out = join(place.path, 'out');
  sandbox = await faxSandbox();
});
afterEach(async () => {
  await gateway?.stop();
  await sandbox.close();
  place.remove();
});

/** @param rules lines of the entry @returns once all that was there is done with */
async function start(way: Way, rules: readonly string[]): Promise<InsideGateway> {
  const lines = ['interval: 1h', `deliver: { folder: { path: ${out} } }`, ...rules].map((line) => `    ${line}\n`);
  gateway = await pickingUp(place, sandbox, lines.join(''), { transport: way, life: 'life' });
  await gateway.line('pickup.polled');
  return gateway;
}

async function arrive(facts: MailFacts, more: Omit<Parameters<Sandbox['receive']>[1], 'mime'> = {}): Promise<void> {
  await sandbox.receive(FAX, { mime: mail(facts), ...more });
}

async function handed(count: number): Promise<void> {
  await until(`${count} handed over`, () => handedIds(out).length >= count);
}

describe.each(WAYS)('recipients over %s', (way) => {
  it('are what the first rule finds', async () => {
    const cases: readonly (readonly [facts: MailFacts, to: readonly string[]])[] = [
      [{ id: 'subject', subject: 'Fax to +49 30 55501' }, ['+493055501@fax.local']],
      [{ id: 'encoded', subject: '=?utf-8?B?RmF4IHRvIDMwIDk5?= ' }, ['3099@fax.local']],
      [{ id: 'plus', to: 'fax+4940@contoso.com' }, ['4940@plus.local']],
      [{ id: 'fax', to: '"FAX=+4989/T33S=12"@contoso.com' }, ['+4989@fax.local']],
      [{ id: 'imceafax', to: 'IMCEAFAX-+4969@contoso.com' }, ['+4969@fax.local']],
      [
        { id: 'recipient', to: '111@fax.contoso.com, 222@fax.contoso.com', header: 'Cc: 333@fax.contoso.com\r\n' },
        ['111@number.local', '222@number.local', '333@number.local'],
      ],
      [{ id: 'none', subject: 'Fax to whom?' }, ['hub@fax.local']],
    ];
    for (const [facts] of cases) await arrive(facts);
    await start(way, [
      'recipients:',
      `  - { in: subject, pattern: 'Fax to (\\+?[0-9 ]+)', to: $1@fax.local, digits: true }`,
      '  - { in: plus, to: $0@plus.local }',
      '  - { in: fax, to: $1@fax.local }',
      `  - { in: recipient, pattern: '^([0-9]+)@fax\\.contoso\\.com$', to: $1@number.local }`,
      '  - { in: always, to: hub@fax.local }',
    ]);
    await handed(cases.length);
    const found = handedOver(out);
    for (const [{ id }, to] of cases) expect(found.get(`<${id}@contoso.com>`)?.facts.to, id).toEqual(to);
  });
});

describe.each(WAYS)('kinds over %s', (way) => {
  const KINDS: readonly MailFacts[] = [
    { id: 'signed', header: 'Content-Type: multipart/signed; boundary=b\r\n', body: '--b\r\n\r\nsigned\r\n--b--' },
    { id: 'encrypted', header: 'Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n' },
    { id: 'meeting', header: 'Content-Type: text/calendar; method=REQUEST\r\n' },
    {
      id: 'report',
      header: 'Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n',
      body: '--b--',
    },
    { id: 'automatic', header: 'Auto-Submitted: auto-replied\r\n' },
    { id: 'nobody', from: '' },
    { id: 'plain' },
  ];

  it.each<readonly [string, string, handed: readonly string[], left: readonly string[], aside: readonly string[]]>([
    [
      'as they are without a word',
      '{}',
      ['nobody', 'plain', 'signed'],
      ['automatic', 'meeting', 'report'],
      ['encrypted', 'post'],
    ],
    [
      'as they are set',
      '{ signed: quarantine, encrypted: deliver, meeting: deliver, report: quarantine, automatic: deliver, noSender: skip, other: deliver }',
      ['automatic', 'encrypted', 'meeting', 'plain', 'post'],
      ['nobody'],
      ['report', 'signed'],
    ],
  ])('go %s', async (_name, kinds, delivered, left, aside) => {
    for (const facts of KINDS) await arrive(facts);
    await arrive({ id: 'post' }, { itemClass: 'IPM.Post' });
    await start(way, [`kinds: ${kinds}`]);
    await handed(delivered.length);
    expect(handedIds(out)).toEqual(delivered.map((id) => `<${id}@contoso.com>`));
    expect(lying(sandbox, 'Processed')).toEqual(delivered);
    expect(lying(sandbox, 'Inbox')).toEqual(left);
    expect(lying(sandbox, 'Quarantine')).toEqual(aside);
  });
});

describe.each(WAYS)('senders over %s', (way) => {
  const RULES = ['from: { allow: [alice@contoso.com] }', 'answer: { refusal: Only Alice may fax. }'];
  const told = (): readonly string[] => sandbox.mailbox(BOB).inbox.map(({ mime }) => mime.toString());

  it('who are refused are told once, durably, and no program is told at all', async () => {
    await arrive({ id: 'good' });
    await arrive({ id: 'bad', from: BOB });
    await arrive({ id: 'again', from: BOB });
    await arrive({ id: 'program', from: 'robot@contoso.com', header: 'Auto-Submitted: auto-generated\r\n' });
    await arrive({ id: 'list', from: 'list@contoso.com', header: 'List-Id: <l.contoso.com>\r\n' });
    await arrive({ id: 'away', from: 'away@contoso.com', header: 'Auto-Submitted: auto-replied\r\n' });
    const one = await start(way, [...RULES, 'kinds: { automatic: deliver }']);
    await handed(1);
    await until('told', () => told().length === 1);
    expect(one.count('pickup.refused', { told: true })).toBe(1);
    expect(one.count('pickup.refused', { told: false })).toBe(4);
    const [notice = ''] = told();
    expect(notice).toContain('Only Alice may fax.');
    expect(notice).toMatch(/^Auto-Submitted: auto-replied/m);
    expect(notice).toContain('<bad@contoso.com>');
    expect(lying(sandbox, 'Refused')).toEqual(['again', 'away', 'bad', 'list', 'program']);
    await one.stop();
    // Whoever puts it back asks for it to be looked at again, and not for another notice.
    const store = user(sandbox);
    for (const { id } of store.folder('Refused')?.items.slice() ?? []) store.move(id, 'inbox');
    const next = await start(way, [...RULES, 'kinds: { automatic: deliver }']);
    expect(lying(sandbox, 'Refused')).toEqual(['again', 'away', 'bad', 'list', 'program']);
    expect(next.count('pickup.refused')).toBe(0);
    expect(sandbox.arrived().length).toBe(1);
    expect(handedIds(out)).toEqual(['<good@contoso.com>']);
  });

  it('have to be inside where that is asked for, and are told nothing without a sentence', async () => {
    const inside = 'X-MS-Exchange-Organization-AuthAs: Internal\r\n';
    await arrive({ id: 'in', header: inside });
    await arrive({ id: 'out', header: inside.replace('Internal', 'Anonymous') });
    await arrive({ id: 'unsaid' });
    const one = await start(way, ['from: { inside: true }']);
    await handed(1);
    expect(handedIds(out)).toEqual(['<in@contoso.com>']);
    expect(lying(sandbox, 'Refused')).toEqual(['out', 'unsaid']);
    expect(one.count('pickup.refused', { cause: 'outside', told: false })).toBe(2);
    expect(sandbox.arrived()).toEqual([]);
  });

  it('have to keep to what attachments and sizes are allowed', async () => {
    const attached = (name: string, octets: number): Pick<MailFacts, 'header' | 'body'> => ({
      header: 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n',
      body: `--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=${name}\r\n\r\n${'x'.repeat(octets)}\r\n--b--`,
    });
    await arrive({ id: 'good', ...attached('a.PDF', 10) });
    await arrive({ id: 'kind', ...attached('a.exe', 10) });
    await arrive({ id: 'none' });
    await arrive({ id: 'large', ...attached('a.pdf', 3_000) });
    await arrive({ id: 'whole', ...attached('a.pdf', 20_000) });
    const one = await start(way, ['maxSize: 10KB', 'attachments: { required: true, allow: [.pdf], maxSize: 2KB }']);
    await handed(1);
    expect(handedIds(out)).toEqual(['<good@contoso.com>']);
    expect(lying(sandbox, 'Refused')).toEqual(['kind', 'large', 'none', 'whole']);
    expect(one.count('pickup.refused', { cause: 'attachment' })).toBeGreaterThanOrEqual(3);
  });
});

describe.each(WAYS)('what becomes of a mail over %s', (way) => {
  it.each<readonly [string, folder: string, isRead: boolean, after: readonly string[]]>([
    ['moved without a word', 'Processed', false, []],
    ['moved', 'Done/Faxes', false, ['after: { move: Done/Faxes }']],
    ['deleted', 'DeletedItems', false, ['after: { delete: true }']],
    ['marked as read', 'Inbox', true, ['after: { read: true }']],
    ['left alone', 'Inbox', false, ['after: { keep: true }']],
  ])('is that it is %s, in the next life too', async (_name, path, isRead, after) => {
    await arrive({ id: 'a' });
    await arrive({ id: 'b', from: ALICE });
    const one = await start(way, after);
    await handed(2);
    await one.stop();
    const left = (): readonly boolean[] =>
      user(sandbox)
        .folder(path)
        ?.items.map((item) => item.isRead) ?? [];
    expect(left()).toEqual([isRead, isRead]);
    await arrive({ id: 'c' });
    const next = await start(way, after);
    await handed(3);
    expect(left()).toEqual([isRead, isRead, isRead]);
    expect(handedIds(out)).toEqual(['<a@contoso.com>', '<b@contoso.com>', '<c@contoso.com>']);
    expect(next.count('pickup.failed') + next.count('pickup.delayed')).toBe(0);
  });
});
