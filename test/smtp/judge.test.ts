/** The header against the rules: loops, From and Sender, the sending mailbox, addressees in the header only. */
import * as fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { describe, expect, it } from 'vitest';
import { canonicalAddress } from '../../src/mail/address.ts';
import type { Mailbox } from '../../src/mail/addresses.ts';
import { asciiField } from '../../src/mail/ascii.ts';
import { joinHeader, splitHeader } from '../../src/mail/header.ts';
import { HOP_FIELD, MAX_PASSES } from '../../src/mail/hop.ts';
import type { Reply } from '../../src/mail/policy.ts';
import type { JudgeOptions, Judged } from '../../src/smtp/judge.ts';
import { judgeHeader } from '../../src/smtp/judge.ts';

fc.configureGlobal({ seed: 5322 });

const OPTIONS: JudgeOptions = {
  envelope: { reversePath: 'fax@contoso.com', recipients: [{ address: 'a@x.test' }] },
  maxHops: 3,
  maxRecipients: 3,
  completeDomain: 'contoso.com',
  headerOnly: 'drop',
  nullReversePath: 'suppress',
  judge: () => ({ mailbox: 'notifications@contoso.com', from: 'keep' }),
  mayReceive: () => undefined,
};
const NO: Reply = { refusal: 'recipient', code: 550, enhanced: '5.7.1', text: 'not that one', detail: 'why' };

const judge = (lines: readonly string[], more: Partial<JudgeOptions> = {}): Promise<Judged> =>
  judgeHeader(splitHeader(Buffer.from(lines.map((line) => `${line}\r\n`).join(''))), { ...OPTIONS, ...more });
const text = ({ fields }: Judged): string[] => fields.map(({ raw }) => raw.toString('latin1').replace(/\r\n$/, ''));
const recipients = ({ envelope }: Judged): string[] => envelope.recipients.map(({ address }) => address);

describe('a header without fault', () => {
  it('stays as it is', async () => {
    const lines = ['From: Fax <fax@contoso.com>', 'Sender: fax@contoso.com', 'To: a@x.test', 'Subject: x'];
    const judged = await judge(lines);
    expect(text(judged)).toEqual(lines);
    expect(judged.repairs).toEqual([]);
    expect(judged.mailbox).toBe('notifications@contoso.com');
    expect(judged.envelope).toBe(OPTIONS.envelope);
  });
});

describe('refused is', () => {
  it.each<[string, string[], Partial<JudgeOptions>, number, RegExp, string]>([
    [
      'what has passed too many servers',
      ['Received: a', 'Received: b', 'Received: c'],
      {},
      554,
      /^5\.4\.6 .*3 servers/,
      'loop',
    ],
    [
      'what has passed here too often',
      Array.from({ length: MAX_PASSES + 1 }, () => `${HOP_FIELD}: g`),
      {},
      554,
      /^5\.4\.6 .*6 times/,
      'loop',
    ],
    [
      'what has passed here too often, as a mailbox keeps it',
      [`${HOP_FIELD}: g, g, g, g, g, g`],
      {},
      554,
      /^5\.4\.6 /,
      'loop',
    ],
    [
      'the null reverse-path where the configuration says so',
      ['From: a@b.test'],
      { nullReversePath: 'reject', envelope: { reversePath: '', recipients: [] } },
      550,
      /^5\.7\.1 .*senders\.nullReversePath/,
      'sender',
    ],
    [
      'what the policy refuses, in its words',
      ['From: ceo@contoso.com'],
      {
        judge: () => ({
          refusal: 'sender',
          code: 550,
          enhanced: '5.7.1',
          text: 'ceo@contoso.com is not in senders.allow',
        }),
      },
      550,
      /^5\.7\.1 ceo@contoso\.com is not in senders\.allow$/,
      'sender',
    ],
    [
      'an addressee in To only, with headerOnly: reject',
      ['To: a@x.test, b@x.test'],
      { headerOnly: 'reject' },
      550,
      /^5\.7\.1 To or Cc names b@x\.test, not given in RCPT TO; recipients\.headerOnly refuses that$/,
      'recipient',
    ],
    [
      'many of them, some of whom a reply cannot name',
      ['To: b@x.test, \u00fc@x.test, c@x.test', `Cc: d@x.test, e@x.test, ${'f'.repeat(90)}@x.test`],
      { headerOnly: 'reject' },
      550,
      /^5\.7\.1 To or Cc names b@x\.test, c@x\.test, d@x\.test and 3 more, not given/,
      'recipient',
    ],
    [
      'one whom a reply cannot name',
      ['To: \u00fc@x.test'],
      { headerOnly: 'reject' },
      550,
      /^5\.7\.1 To or Cc names an addressee, not given/,
      'recipient',
    ],
    [
      'an addressee in Cc only that may not receive',
      ['Cc: b@x.test'],
      { headerOnly: 'send', mayReceive: () => NO },
      550,
      /^5\.7\.1 not that one$/,
      'recipient',
    ],
    [
      'more addressees than a message may have',
      ['To: b@x.test, c@x.test, d@x.test'],
      { headerOnly: 'send' },
      552,
      /^5\.5\.3 /,
      'recipients',
    ],
  ])('%s', async (_what, lines, more, code, says, refusal) => {
    const refused = await judge(lines, more).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(refused).toMatchObject({
      name: 'Refused',
      responseCode: code,
      refusal,
      message: expect.stringMatching(says),
    });
  });

  it('nothing that has passed as often as it may', async () => {
    const lines = Array.from({ length: MAX_PASSES }, () => `${HOP_FIELD}: g`);
    expect((await judge(['From: a@b.test', 'Received: a', 'Received: b', ...lines])).repairs).toEqual([]);
  });
});

describe('addressees in the header only', () => {
  const lines = ['To: A@X.test, b@x.test, "B" <B@x.test>', 'Cc: fax, unreadable <>, c@x.test'];

  it('are left to the transport with drop', async () => {
    expect(recipients(await judge(lines))).toEqual(['a@x.test']);
  });

  it('are sent to, each once, with send', async () => {
    const judged = await judge(['To: A@X.test, b@x.test, "B" <B@x.test>', 'Cc: c@x.test'], { headerOnly: 'send' });
    expect(recipients(judged)).toEqual(['a@x.test', 'b@x.test', 'c@x.test']);
  });

  it('of Bcc are not, with send', async () => {
    expect(recipients(await judge(['To: a@x.test', 'Bcc: b@x.test'], { headerOnly: 'send' }))).toEqual(['a@x.test']);
  });

  it('without a domain count as completed', async () => {
    expect(recipients(await judge(['To: FaxMaster'], { headerOnly: 'send' }))).toEqual([
      'a@x.test',
      'FaxMaster@contoso.com',
    ]);
  });

  it('are no reason to refuse where there are none', async () => {
    expect(recipients(await judge(['To: A@x.TEST'], { headerOnly: 'reject' }))).toEqual(['a@x.test']);
  });
});

describe('From', () => {
  it.each([[[]], [['From:']], [['From: ,']]])(
    'that names nobody is who MAIL FROM names, for the rules too: %j',
    async (lines) => {
      const seen: unknown[] = [];
      const judged = await judge([...lines, 'Subject: x'], {
        judge: (header) => {
          seen.push(header.from);
          return { mailbox: 'm@contoso.com', from: 'keep' };
        },
      });
      expect(seen).toEqual([[{ name: '', address: 'fax@contoso.com' }]]);
      expect(text(judged)).toEqual(['Subject: x', 'From: fax@contoso.com']);
      expect(judged.repairs).toEqual(['added From']);
    },
  );

  it('is left to be added where MAIL FROM names nobody either', async () => {
    const judged = await judge(['Subject: x'], { envelope: { reversePath: '', recipients: [] } });
    expect(text(judged)).toEqual(['Subject: x']);
  });

  it('is judged as it goes out: completed, every one of them, Sender too', async () => {
    const seen: unknown[] = [];
    await judge(
      ['From: The Agent <fax>, "x" <b@x.test>', 'Sender: fax', 'Resent-From: x@x.test', 'Resent-Sender: fax'],
      {
        judge: (header) => {
          seen.push(header.from, header.sender, header.resent);
          return { mailbox: 'm@contoso.com', from: 'keep' };
        },
      },
    );
    expect(seen).toEqual([
      [
        { name: 'The Agent', address: 'fax@contoso.com' },
        { name: 'x', address: 'b@x.test' },
      ],
      [{ name: '', address: 'fax@contoso.com' }],
      [
        { name: '', address: 'x@x.test' },
        { name: '', address: 'fax@contoso.com' },
      ],
    ]);
  });

  it('is rewritten where a rule says so, the old one in Reply-To', async () => {
    const judged = await judge(
      ['From: Asterisk <asterisk@pbx.local>', 'Sender: x@pbx.local', 'Resent-From: x@pbx.local', 'Subject: x'],
      {
        judge: () => ({ mailbox: 'pbx@contoso.com', from: 'rewrite' }),
      },
    );
    expect(text(judged)).toEqual([
      'From: Asterisk <pbx@contoso.com>',
      'Reply-To: Asterisk <asterisk@pbx.local>',
      'Subject: x',
    ]);
    expect(judged.repairs).toEqual(['rewrote From']);
    expect(judged.mailbox).toBe('pbx@contoso.com');
  });

  it('says to every reader what was judged', async () => {
    const judged = await judge(['From: ceo@contoso.com <fax@contoso.com>']);
    expect(text(judged)).toEqual(['From: "ceo@contoso.com" <fax@contoso.com>']);
    expect(judged.repairs).toEqual(['wrote From or Sender anew']);
  });

  it('says it to every reader whatever it is made of', async () => {
    const piece = fc.constantFrom(
      'a@x.test',
      '<b@x.test>',
      'ceo@contoso.com',
      '"',
      '\\',
      '(',
      ')',
      ',',
      ';',
      ':',
      '<',
      '>',
      ' ',
      '@',
      '\u00fc',
      'fax',
      '=?utf-8?Q?c=40x.test?=',
      '=?utf-8?B?w7w=?=',
      '"q, \u00fc" <d@x.test>',
      'G:',
      '\0',
      '\r\n ',
      '\r\nFrom: ',
    );
    const plain = (address: string): string => canonicalAddress(address).replace(/^"([^"\\(),:;@[\]\s]+)"@/, '$1@');
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 9 }), async (pieces) => {
        let seen: readonly Mailbox[] = [];
        const judged = await judge([`From: ${pieces.join('')}`], {
          judge: ({ from }) => {
            seen = from;
            return { mailbox: 'm@contoso.com', from: 'keep' };
          },
        });
        // Beside an address that cannot be read, only a policy that allows everybody lets one pass.
        fc.pre(seen.every(({ address }) => address !== '') || seen.every(({ address }) => address === ''));
        const block = joinHeader(judged.fields.map(asciiField));
        const { from = [] } = await simpleParser(block);
        const read = [from].flat().flatMap(({ value }) => value.flatMap((one) => one.group ?? [one]));
        const addresses = read.map(({ address = '' }) => plain(address)).filter((address) => address !== '');
        expect(addresses.filter((address) => !seen.some((one) => plain(one.address) === address))).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['From: <>', 'From: two words'])(
    'that names nobody goes, so that a usable one takes its place: %s',
    async (line) => {
      expect(text(await judge([line, 'Subject: x']))).toEqual(['Subject: x']);
    },
  );
});

it('takes no time worth the name for a header of 256 KiB', async () => {
  for (const line of [
    'To: a@x.test,',
    'From: <a',
    'Cc: "',
    'DKIM-Signature: x',
    'Received: x',
    'From: a@x.test',
    'To: ü,,;:<>',
  ]) {
    const lines = Array.from({ length: Math.floor(250_000 / (line.length + 2)) }, () => line);
    for (const header of [lines, [lines.join(' ')]]) {
      const begun = performance.now();
      await judge(header, { maxHops: Infinity });
      // Quadratic work takes minutes.
      expect(performance.now() - begun).toBeLessThan(3_000);
    }
  }
});
