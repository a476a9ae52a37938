/** Which mailbox sends what, and under which From. */
import { describe, expect, it } from 'vitest';
import { parseHeader } from '../../src/mail/addresses.ts';
import { splitHeader } from '../../src/mail/header.ts';
import { senderMap } from '../../src/mail/senders.ts';
import type { SenderFacts, SenderRule, SenderRules } from '../../src/mail/senders.ts';

const DEFAULT = { mailbox: 'notifications@contoso.com', header: 'keep' } as const;
const HIT = { mailbox: 'hit@contoso.com', from: 'keep' };
const MISS = { mailbox: 'notifications@contoso.com', from: 'keep' };

interface Facts {
  readonly listener?: string;
  readonly peer?: string;
  readonly user?: string;
  readonly reversePath?: string;
  /** As in a From field. */
  readonly from?: string;
}

async function facts({
  from,
  reversePath = 'a@x.test',
  listener = 'lan',
  peer = '10.0.0.7',
  user,
}: Facts): Promise<SenderFacts> {
  const header = from === undefined ? '' : `From: ${from}\r\n`;
  return {
    client: { listener, peer, tls: false, ...(user !== undefined && { user }) },
    reversePath,
    from: (await parseHeader(splitHeader(Buffer.from(header)))).from,
  };
}

function rule(conditions: Partial<SenderRule>): SenderRules {
  return { ...DEFAULT, rules: [{ ...conditions, mailbox: 'hit@contoso.com', header: 'keep' }] };
}

describe('a rule', () => {
  interface Row {
    readonly when: Partial<SenderRule>;
    readonly yes?: readonly Facts[];
    readonly no?: readonly Facts[];
  }
  const rows: readonly Row[] = [
    { when: {}, yes: [{}, { from: 'a@x.test' }, { from: 'fax', reversePath: '' }] },
    {
      when: { from: '*@pbx.local' },
      yes: [
        { from: 'asterisk@pbx.local' },
        { from: 'Asterisk PBX <Asterisk@PBX.Local>' },
        { from: 'PBX <+390551234@pbx.local>' },
        { from: 'a@pbx.local, b@y.test' },
        { from: '=?utf-8?Q?a=40y.test?= <a@pbx.local>' },
      ],
      no: [
        {},
        { from: 'a@y.test' },
        { from: 'a@y.test', reversePath: 'a@pbx.local' },
        { from: 'b@y.test, a@pbx.local' },
        { from: '"a@pbx.local" <b@y.test>' },
        { from: 'a@evil-pbx.local' },
        { from: 'a@pbx.local.evil' },
        { from: 'asterisk' },
        { from: 'Asterisk <asterisk>' },
      ],
    },
    { when: { from: '*' }, yes: [{}, { from: 'fax' }, { from: 'a@x.test' }] },
    { when: { from: '*@*' }, yes: [{ from: 'a@x.test' }], no: [{}, { from: 'fax' }] },
    { when: { from: '*@bücher.test' }, yes: [{ from: 'a@xn--bcher-kva.test' }], no: [{ from: 'a@bucher.test' }] },
    {
      when: { envelope: 'fax@x.test' },
      yes: [{ reversePath: 'FAX@x.test', from: 'b@y.test' }],
      no: [{ reversePath: '' }, { reversePath: 'a@x.test', from: 'fax@x.test' }],
    },
    { when: { envelope: '*' }, yes: [{ reversePath: '' }, { reversePath: 'fax' }] },
    { when: { envelope: '*@*' }, no: [{ reversePath: '' }] },
    { when: { listener: 'lan' }, yes: [{}], no: [{ listener: 'LAN' }, { listener: 'dmz' }] },
    { when: { user: 'pbx' }, yes: [{ user: 'pbx' }], no: [{}, { user: 'PBX' }, { user: '' }] },
    {
      when: { networks: ['10.0.0.0/24', '::1'] },
      yes: [{}, { peer: '::ffff:10.0.0.9' }, { peer: '::1' }],
      no: [{ peer: '10.0.1.7' }, { peer: '' }],
    },
    { when: { networks: [] }, no: [{}] },
    {
      when: { from: '*@x.test', envelope: 'e@x.test', listener: 'lan', user: 'pbx', networks: ['10.0.0.0/8'] },
      yes: [{ from: 'a@x.test', reversePath: 'e@x.test', user: 'pbx' }],
      no: [
        { from: 'a@y.test', reversePath: 'e@x.test', user: 'pbx' },
        { from: 'a@x.test', reversePath: 'f@x.test', user: 'pbx' },
        { from: 'a@x.test', reversePath: 'e@x.test' },
        { from: 'a@x.test', reversePath: 'e@x.test', user: 'pbx', listener: 'dmz' },
        { from: 'a@x.test', reversePath: 'e@x.test', user: 'pbx', peer: '192.0.2.1' },
      ],
    },
  ];
  const all = rows.flatMap(({ when, yes = [], no = [] }) => [
    ...yes.map((message) => [when, message, HIT] as const),
    ...no.map((message) => [when, message, MISS] as const),
  ]);

  it.each(all)('%j on %j: %j', async (when, message, sending) => {
    expect(senderMap(rule(when))(await facts(message))).toEqual(sending);
  });

  it('that cannot be one is a TypeError', () => {
    expect(() => senderMap(rule({ from: 'contoso.com' }))).toThrow(TypeError);
    expect(() => senderMap(rule({ envelope: '<>' }))).toThrow(TypeError);
    expect(() => senderMap(rule({ networks: ['lan'] }))).toThrow(TypeError);
  });
});

describe('several rules', () => {
  const map = senderMap({
    ...DEFAULT,
    rules: [
      { from: 'ceo@contoso.com', mailbox: 'none@contoso.com', header: 'reject' },
      { user: 'scanner', mailbox: 'scans@contoso.com', header: 'rewrite', name: 'Scanner' },
      { from: '*@pbx.local', mailbox: 'pbx@contoso.com', header: 'rewrite' },
      { listener: 'lan', from: '*@contoso.com', mailbox: 'lan@contoso.com', header: 'keep' },
      { from: '*@contoso.com', mailbox: 'late@contoso.com', header: 'keep' },
    ],
  });

  it.each([
    [{ from: 'a@pbx.local' }, { mailbox: 'pbx@contoso.com', from: 'rewrite' }],
    [
      { from: 'a@pbx.local', user: 'scanner' },
      { mailbox: 'scans@contoso.com', from: 'rewrite', name: 'Scanner' },
    ],
    [{ from: 'a@contoso.com' }, { mailbox: 'lan@contoso.com', from: 'keep' }],
    [
      { from: 'a@contoso.com', listener: 'dmz' },
      { mailbox: 'late@contoso.com', from: 'keep' },
    ],
    [{ from: 'a@z.test' }, MISS],
    [{}, MISS],
  ])('the first that matches decides: %j: %j', async (message, sending) => {
    expect(map(await facts(message))).toEqual(sending);
  });

  it.each(['keep', 'rewrite'] as const)('one that names a way out chooses it, with %s', async (header) => {
    const by = { mailbox: 'relay@subsidiary.com', route: 'subsidiary' };
    const routed = senderMap({ ...DEFAULT, rules: [{ from: '@subsidiary.com', ...by, header }] });
    expect(routed(await facts({ from: 'a@subsidiary.com' }))).toEqual({ ...by, from: header });
    expect(routed(await facts({ from: 'a@contoso.com' }))).toEqual(MISS);
  });

  it('a rejecting one says which it is', async () => {
    expect(map(await facts({ from: 'CEO <ceo@contoso.com>', user: 'scanner' }))).toEqual({
      refusal: 'sender',
      code: 550,
      enhanced: '5.7.1',
      text: 'Mail from ceo@contoso.com is refused by senders.rules[0]',
    });
  });
});

describe('mail no rule matches', () => {
  it('is kept or rewritten as the default has it', async () => {
    const rewriting = senderMap({ ...DEFAULT, header: 'rewrite', rules: [] });
    expect(senderMap({ ...DEFAULT, rules: [] })(await facts({ from: 'a@x.test' }))).toEqual(MISS);
    expect(rewriting(await facts({ from: 'a@x.test' }))).toEqual({ mailbox: MISS.mailbox, from: 'rewrite' });
  });

  it.each([
    [{ from: 'a@x.test' }, 'Mail from a@x.test'],
    [{ reversePath: 'e@x.test' }, 'Mail from e@x.test'],
    [{ from: 'fax', reversePath: '' }, 'Mail from <>'],
    [{ from: 'jürgen@x.test' }, 'Mail from j?rgen@x.test'],
  ])('is refused: %j', async (message, what) => {
    const text = `${what} is refused by senders.header, as no rule of senders.rules matches`;
    expect(senderMap({ ...DEFAULT, header: 'reject', rules: [] })(await facts(message))).toMatchObject({
      code: 550,
      text,
    });
  });
});
