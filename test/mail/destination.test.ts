/** Which recipients result from a mail that was picked up. */
import { describe, expect, it } from 'vitest';
import type { DestinationRule, Place } from '../../src/mail/destination.ts';
import { checkRule, destinationOf, destinations } from '../../src/mail/destination.ts';
import { regex } from '../../src/mail/regex.ts';

const MAILBOX = 'fax@contoso.com';

function rule(place: Place, to: string, pattern?: string, digits = false): DestinationRule {
  return { in: place, to, digits, ...(pattern === undefined ? {} : { pattern }) };
}

describe('a rule', () => {
  it.each<[string, DestinationRule, string, readonly string[]]>([
    ['a group of the subject', rule('subject', '$1@fax.local', 'to ([0-9]+)'), 'Offer TO 4930', ['4930@fax.local']],
    ['the whole of what was found', rule('subject', '+$0@fax.local', '[0-9]+'), 'Fax 4930', ['+4930@fax.local']],
    ['several', rule('subject', '$0@fax.local', '[0-9]+'), '1, 2 and 1', ['1@fax.local', '2@fax.local']],
    ['nothing', rule('subject', '$0@fax.local', '[0-9]+'), 'Lunch?', []],
    ['nothing of an empty match', rule('subject', 'a$0@fax.local', '[0-9]*'), 'a1b', ['a1@fax.local']],
    ['digits', rule('subject', '$1@f.local', 'fax:(.*)', true), 'Fax: +49 (30) 1/2-3', ['+4930123@f.local']],
    ['digits without plus', rule('subject', '$0@f.local', '.+', true), '00 49-30', ['004930@f.local']],
    ['no address', rule('subject', '$1@fax.local', 'fax (.*)'), 'fax a b', []],
    ['no hole', rule('subject', '$1@fax.local', 'fax([0-9]*)'), 'fax', []],
    ['a dollar sign', rule('always', '$$1@fax.local'), '', ['$1@fax.local']],
    ['an address always', rule('always', 'a@fax.local'), 'whatever', ['a@fax.local']],
    ['an address of To', rule('recipient', '$1@fax.local', '^([0-9]+)@fax\\.'), '1@fax.contoso.com', ['1@fax.local']],
    ['what follows the plus', rule('plus', '$0@fax.local'), 'Fax+4930@CONTOSO.com', ['4930@fax.local']],
    ['all that follows it', rule('plus', '$0@fax.local'), 'fax+a+b@contoso.com', ['a+b@fax.local']],
    ['a piece of it', rule('plus', '$1@fax.local', '^n([0-9]+)$'), 'fax+n1@contoso.com', ['1@fax.local']],
    ['no plus', rule('plus', '$0@fax.local'), 'fax@contoso.com', []],
    ['a plus of another', rule('plus', '$0@fax.local'), 'bob+4930@contoso.com', []],
    ['a plus at another domain', rule('plus', '$0@fax.local'), 'fax+4930@contoso.org', []],
    ['RFC 3192', rule('fax', '$0@fax.local'), 'FAX=+49-30.1@contoso.com', ['+49301@fax.local']],
    ['its subaddress', rule('fax', '$1.$2@fax.local'), 'fax=+4930/T33S=12@contoso.com', ['+4930.12@fax.local']],
    ['another part of it', rule('fax', '$1@fax.local'), 'FAX=4930/ATTN=Bob@contoso.com', ['4930@fax.local']],
    ['none of it, which leaves nothing', rule('fax', '$2@fax.local'), 'FAX=+4930@contoso.com', []],
    ['quoted', rule('fax', '$1@fax.local'), '"FAX=+49 30"@contoso.com', ['+4930@fax.local']],
    ['encapsulated', rule('fax', '$1@fax.local'), 'IMCEAFAX-+4930@contoso.com', ['+4930@fax.local']],
    ['encoded', rule('fax', '$1@fax.local'), 'IMCEAFAX-+2B49+2030@contoso.com', ['+4930@fax.local']],
    ['with a name', rule('fax', '$1@fax.local'), 'imceafax-Bob+40+2b49+2030+201@contoso.com', ['+49301@fax.local']],
    ['another encapsulation', rule('fax', '$1@fax.local'), 'IMCEAEX-_O=CONTOSO@contoso.com', []],
    ['a pattern on the number', rule('fax', '$1@fax.local', '^\\+49(.*)'), 'FAX=+49 30@contoso.com', ['30@fax.local']],
    ['an ordinary address', rule('fax', '$1@fax.local'), 'bob@contoso.com', []],
  ])('finds %s', (_, one, text, found) => {
    expect(checkRule(one)).toBeUndefined();
    expect(destinationOf(one, text, MAILBOX)).toEqual(found);
  });

  it('looks at no more than 1000 characters', () => {
    const one = rule('subject', '$0@fax.local', '[0-9]+');
    expect(destinationOf(one, `${' '.repeat(999)}12`, MAILBOX)).toEqual(['1@fax.local']);
  });

  it.each<[string, DestinationRule, string]>([
    ['pattern', rule('subject', 'a@b', '('), 'is no expression of RE2: missing closing )'],
    ['pattern', rule('subject', 'a@b', '(a)\\1'), 'is no expression of RE2: invalid escape sequence'],
    ['to', rule('always', 'a'), 'must be an address, such as $1@fax.local'],
    ['to', rule('always', '@b'), 'must be an address, such as $1@fax.local'],
    ['to', rule('subject', 'a@$1', '(.*)'), 'takes its domain from the mail: any host could be reached by it'],
    ['to', rule('always', '$0@b'), 'has $0, and there is no such group'],
    ['to', rule('plus', '$1@b'), 'has $1, and there is no such group'],
    ['to', rule('fax', '$3@b'), 'has $3, and there is no such group'],
  ])('that cannot be used is told by its %s: %o', (part, one, problem) => {
    expect(checkRule(one)).toEqual({ part, problem });
  });
});

describe('rules', () => {
  const mail = { subject: 'fax 1', recipients: ['fax+2@contoso.com', 'Fax+3@contoso.com'], mailbox: MAILBOX };

  it('end at the first that finds anybody, with all that it finds', () => {
    const plus = rule('plus', '$0@fax.local');
    const subject = rule('subject', '$0@fax.local', '[0-9]+');
    const none = rule('fax', '$0@fax.local');
    const rest = rule('always', 'rest@fax.local');
    expect(destinations([none, plus, subject, rest])(mail)).toEqual(['2@fax.local', '3@fax.local']);
    expect(destinations([subject, plus, rest])(mail)).toEqual(['1@fax.local']);
    expect(destinations([none, rest])(mail)).toEqual(['rest@fax.local']);
    expect(destinations([none])(mail)).toEqual([]);
  });

  it('name everybody once, whatever the case', () => {
    const one = rule('subject', '$0@fax.local', '[a-z]+');
    expect(destinations([one])({ ...mail, subject: 'bob BOB alice' })).toHaveLength(2);
  });

  it('refuse at once what was not checked', () => {
    expect(() => destinations([rule('subject', 'a@b', '(')])).toThrow(TypeError);
  });
});

describe('a regular expression', () => {
  it('takes no longer for a text that is made to be slow', () => {
    const slow = regex('^(a+)+$');
    const begun = performance.now();
    expect(typeof slow === 'string' ? [] : slow.matches(`${'a'.repeat(20_000)}b`)).toEqual([]);
    // A backtracking engine needs more than the age of the universe.
    expect(performance.now() - begun).toBeLessThan(5_000);
  });
});
