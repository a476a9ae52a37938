import { describe, expect, it } from 'vitest';
import { isSendable } from '../../src/mail/address.ts';
import type { Addressed, DestinationRule } from '../../src/mail/destination.ts';
import { checkRule, destinationOf, destinations, PLACES } from '../../src/mail/destination.ts';

const MAILBOX = 'fax@contoso.com';
const mail = (more: Partial<Addressed> = {}): Addressed => ({ subject: '', recipients: [], mailbox: MAILBOX, ...more });
const rule = (more: Partial<DestinationRule> & Pick<DestinationRule, 'in'>): DestinationRule => ({
  to: '$0@fax.local',
  digits: false,
  ...more,
});
const NUMBER = String.raw`\+?[0-9][0-9 ()/.-]{4,}`;

describe('a destination', () => {
  it.each<[string, DestinationRule, Partial<Addressed>, string[]]>([
    // subject
    [
      'a number in the subject',
      rule({ in: 'subject', pattern: NUMBER, digits: true }),
      { subject: 'Fax +49 (30) 123-45' },
      ['+493012345@fax.local'],
    ],
    [
      'several',
      rule({ in: 'subject', pattern: NUMBER, digits: true }),
      { subject: '030 12345, 040 67890; 030 12345' },
      ['03012345@fax.local', '04067890@fax.local'],
    ],
    [
      'a group',
      rule({ in: 'subject', pattern: 'fax:([0-9]+)', to: 'n$1@fax.local' }),
      { subject: 'FAX:4711' },
      ['n4711@fax.local'],
    ],
    [
      'two groups',
      rule({ in: 'subject', pattern: '([a-z]+) ([0-9]+)', to: '$2.$1@fax.local' }),
      { subject: 'Room 12' },
      ['12.Room@fax.local'],
    ],
    [
      'a dollar sign',
      rule({ in: 'subject', pattern: '[0-9]+', to: '$$$0@fax.local' }),
      { subject: '12' },
      ['$12@fax.local'],
    ],
    [
      'what looks like a group is text',
      rule({ in: 'subject', pattern: String.raw`\S+`, to: '$0@fax.local' }),
      { subject: 'a$1' },
      ['a$1@fax.local'],
    ],
    ['no match', rule({ in: 'subject', pattern: '[0-9]{5}' }), { subject: 'hello 12' }, []],
    [
      'no digits in it',
      rule({ in: 'subject', pattern: 'x.', to: 'FAX=$0@fax.local', digits: true }),
      { subject: 'x+' },
      [],
    ],
    [
      'nothing for the place',
      rule({ in: 'subject', pattern: 'fax([0-9]*)', to: 'FAX=$1@fax.local' }),
      { subject: 'fax' },
      [],
    ],
    [
      'something for one place',
      rule({ in: 'subject', pattern: '([0-9]+)(x[0-9]+)?', to: '$1$2@fax.local' }),
      { subject: '12' },
      ['12@fax.local'],
    ],
    ['a subject without end', rule({ in: 'subject', pattern: 'z$' }), { subject: `${'a'.repeat(2_000)}z` }, []],
    // recipient
    [
      'a local part',
      rule({ in: 'recipient', pattern: '^([0-9+]+)@fax.contoso.com$', to: '$1@fax.local' }),
      { recipients: ['+4930@fax.contoso.com', 'x@contoso.com', '+4940@FAX.contoso.com'] },
      ['+4930@fax.local', '+4940@fax.local'],
    ],
    [
      'the same twice',
      rule({ in: 'recipient', pattern: '^[a-z]+' }),
      { recipients: ['abc@x.test', 'ABC@y.test', 'abc@z.test'] },
      ['abc@fax.local'],
    ],
    // plus
    ['a plus address', rule({ in: 'plus' }), { recipients: ['fax+4711@contoso.com'] }, ['4711@fax.local']],
    ['with a plus sign in it', rule({ in: 'plus' }), { recipients: ['FAX++4930@Contoso.com'] }, ['+4930@fax.local']],
    [
      'with a pattern',
      rule({ in: 'plus', pattern: '[0-9]+' }),
      { recipients: ['fax+to-12-34@contoso.com'] },
      ['12@fax.local', '34@fax.local'],
    ],
    [
      'of another mailbox',
      rule({ in: 'plus' }),
      { recipients: ['fax+12@contoso.com.evil.test', 'other+12@contoso.com', 'fax@contoso.com', 'fax+@contoso.com'] },
      [],
    ],
    // fax
    [
      'FAX=',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['FAX=+4930123@contoso.com'] },
      ['+4930123@fax.local'],
    ],
    [
      'fax= with what makes it readable',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['"fax=+49 (30) 12.3-4"@contoso.com'] },
      ['+49301234@fax.local'],
    ],
    [
      'T33S',
      rule({ in: 'fax', to: '$1/T33S=$2@fax.local' }),
      { recipients: ['FAX=+4930/T33S=1*2#@contoso.com'] },
      ['+4930/T33S=1*2#@fax.local'],
    ],
    [
      'other qualifiers',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['FAX=+4930/POST=12@contoso.com'] },
      ['+4930@fax.local'],
    ],
    [
      'a pattern on the number',
      rule({ in: 'fax', pattern: String.raw`^\+49([0-9]+)`, to: '0$1@fax.local' }),
      { recipients: ['FAX=+49-30-1@contoso.com', 'FAX=+4330@contoso.com'] },
      ['0301@fax.local'],
    ],
    [
      'IMCEAFAX as people write it',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['IMCEAFAX-+3930123@contoso.com'] },
      ['+3930123@fax.local'],
    ],
    [
      'IMCEAFAX as Exchange writes it',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['IMCEAFAX-+2B1+20+28425+29+20555-1212@contoso.com'] },
      ['+14255551212@fax.local'],
    ],
    [
      'with the name of a contact',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['IMCEAFAX-Bob+20Lee+40+2B4930_T33S=12@contoso.com'] },
      ['+4930@fax.local'],
    ],
    [
      'IMCEAFAX that hides another host',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['IMCEAFAX-4930+40evil.test@contoso.com', 'IMCEAFAX-x+0d+0a4930@contoso.com'] },
      [],
    ],
    [
      'no number',
      rule({ in: 'fax', to: '$1@fax.local' }),
      { recipients: ['FAX=@x.test', 'FAX=+@x.test', 'FAX=bob@x.test', 'xFAX=12@x.test', 'FAX=...@x.test'] },
      [],
    ],
    // always
    ['always', rule({ in: 'always', to: 'fax@pbx.local' }), {}, ['fax@pbx.local']],
    ['always, with a dollar sign', rule({ in: 'always', to: 'a$$b@pbx.local' }), {}, ['a$b@pbx.local']],
  ])('is %s', (_, one, given, expected) => {
    expect(checkRule(one)).toBeUndefined();
    expect(destinations([one])(mail(given))).toEqual(expected);
  });

  it('comes of the first rule that gives any', () => {
    const resulting = destinations([
      rule({ in: 'plus' }),
      rule({ in: 'subject', pattern: '[0-9]+' }),
      rule({ in: 'always', to: 'rest@fax.local' }),
    ]);
    expect(resulting(mail({ subject: '12', recipients: ['fax+34@contoso.com'] }))).toEqual(['34@fax.local']);
    expect(resulting(mail({ subject: '12' }))).toEqual(['12@fax.local']);
    expect(resulting(mail())).toEqual(['rest@fax.local']);
    expect(destinations([])(mail())).toEqual([]);
  });

  it.each([
    'a@evil.test',
    '"a@evil.test"',
    '"a@evil.test',
    'a@evil.test,b',
    'a%evil.test',
    'evil.test!a',
    '@evil.test:a',
    'a>,<b@evil.test',
    'a\r\nRCPT TO:<b@evil.test>',
    'a\nb',
    'a\0b',
    'a\\',
    '"a"b"',
    'a b',
    '-oQ/tmp',
    '',
    '\u202ea',
    'a\u2028b',
    '\ud800',
    'x'.repeat(400),
  ])('is never made of %j', (text) => {
    for (const to of ['$0@fax.local', '"$0"@fax.local', '$1@fax.local', '$1$2@fax.local']) {
      const one = rule({ in: 'subject', pattern: String.raw`^((?s:.)*)()$`, to });
      for (const address of destinationOf(one, text, MAILBOX)) {
        expect(isSendable(address)).toBe(true);
        expect(address.endsWith('@fax.local')).toBe(true);
        // Blanks stay where the operator put the quotes.
        expect(address.slice(0, -'@fax.local'.length)).toMatch(/^(?:"[^"\\@%!]*"|[^"\\@%! ]*)$/);
        expect(address).not.toMatch(/^-/);
      }
    }
  });

  it('takes time in proportion to the text, whatever the pattern', () => {
    const took = (pattern: string, length: number): number => {
      const resulting = destinations([rule({ in: 'recipient', pattern })]);
      const recipients = Array.from({ length }, () => `${'a'.repeat(300)}@x.test`);
      const begun = performance.now();
      resulting(mail({ recipients, subject: 'a'.repeat(1_000_000) }));
      return performance.now() - begun;
    };
    for (const pattern of ['(a+)+$', '(a|a)*b', '^(([a-z])+.)+[A-Z]([a-z])+$'])
      expect(took(pattern, 100)).toBeLessThan(2_000);
    expect(took('b', 1_000_000)).toBeLessThan(2_000);
  });
});

describe('what is wrong with a rule', () => {
  it.each<[string, Partial<DestinationRule> & Pick<DestinationRule, 'in'>, string | undefined]>([
    ['nothing', { in: 'subject', pattern: '([0-9]+)', to: '$1@fax.local' }, undefined],
    ['the pattern', { in: 'subject', pattern: '(' }, 'pattern'],
    ['a look-around', { in: 'subject', pattern: '(?=a)' }, 'pattern'],
    ['a back-reference', { in: 'subject', pattern: String.raw`(a)\1` }, 'pattern'],
    ['no address', { in: 'subject', pattern: 'a', to: 'fax' }, 'to'],
    ['no local part', { in: 'subject', pattern: 'a', to: '@fax.local' }, 'to'],
    ['a domain of the mail', { in: 'subject', pattern: 'a', to: 'fax@$0' }, 'to'],
    ['a part of a domain of the mail', { in: 'subject', pattern: 'a', to: 'fax@$0.fax.local' }, 'to'],
    ['a dollar sign in the domain', { in: 'subject', pattern: 'a', to: 'fax@$$.local' }, 'to'],
    ['no such group', { in: 'subject', pattern: '(a)', to: '$2@fax.local' }, 'to'],
    ['a group without a pattern', { in: 'plus', to: '$1@fax.local' }, 'to'],
    ['the subaddress', { in: 'fax', to: '$1-$2@fax.local' }, undefined],
    ['no third group of fax', { in: 'fax', to: '$3@fax.local' }, 'to'],
    ['groups of fax and a pattern of its own', { in: 'fax', pattern: '[0-9]+', to: '$1@fax.local' }, 'to'],
    ['a place without a text', { in: 'always', to: '$0@fax.local' }, 'to'],
  ])('is %s', (_, one, part) => {
    expect(checkRule(rule(one))?.part).toBe(part);
  });

  it('was for the caller to ask', () => {
    expect(() => destinations([rule({ in: 'subject', pattern: '(' })])).toThrow(TypeError);
  });
});

it('places are all looked at by a test in the configuration', () => {
  for (const place of PLACES) {
    const text = {
      subject: '12',
      recipient: '12@x.test',
      plus: 'fax+12@contoso.com',
      fax: 'FAX=12@x.test',
      always: '',
    }[place];
    const one = rule({
      in: place,
      ...(place === 'always' ? { to: '12@fax.local' } : place === 'recipient' ? { pattern: '^[0-9]+' } : {}),
    });
    expect(destinationOf(one, text, MAILBOX)).toEqual(['12@fax.local']);
  }
});
