/**
 * What results from the subject and the addresses of a mail, as anybody may write them: an address of the operator's own
 * domain and nothing else, whatever his rules are, that names no other host and begins no line or option.
 */
import * as fc from 'fast-check';
import { isSendable } from '../../src/mail/address.ts';
import { checkRule, destinations } from '../../src/mail/destination.ts';
import type { DestinationRule } from '../../src/mail/destination.ts';
import { mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const rule: fc.Arbitrary<DestinationRule> = fc.record({
  in: fc.constantFrom('subject', 'recipient', 'plus', 'fax'),
  pattern: fc.constantFrom('.+', '(?s:.*)', '([^@]*)@(.*)', '([0-9+]+)', String.raw`(\S+)\s*(\S*)`, '"(.*)"', '()(.)'),
  to: fc.constantFrom(
    '$0@fax.test',
    '$1@fax.test',
    '"$1"@fax.test',
    '$1/T33S=$2@fax.test',
    '$$$1$2@fax.test',
    'FAX=$1@fax.test',
  ),
  digits: fc.boolean(),
});
const text = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '@',
        '"',
        '\\',
        '\r\n',
        '\n',
        '\0',
        ' ',
        '<',
        '>',
        ',',
        ':',
        '%',
        '!',
        '-',
        '+',
        '$1',
        '$$',
        '+40',
        '+0d',
        '_',
      ),
      fc.constantFrom(
        'evil.test',
        'fax',
        'FAX=',
        'IMCEAFAX-',
        '/T33S=',
        '12',
        '+4930',
        '@contoso.com',
        'fax+',
        '\u202e',
        '\ud800',
        '１',
      ),
      fc.string({ unit: 'binary', maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

export function destinationHolds(
  rules: readonly DestinationRule[],
  subject: string,
  recipients: readonly string[],
): void {
  const sound = rules.filter((one) => checkRule(one) === undefined);
  for (const address of destinations(sound)({ subject, recipients, mailbox: 'fax@contoso.com' })) {
    mustHold(isSendable(address), `${JSON.stringify(address)} is no address`);
    mustHold(address.endsWith('@fax.test'), `${address} has another domain`);
    const local = address.slice(0, -'@fax.test'.length);
    mustHold(!/[@%!\\<>\r\n\0]/.test(local), `${address} may lead elsewhere`);
    mustHold(!local.startsWith('-'), `${address} begins as an option does`);
    mustHold(/^"[^"]*"$/.test(local) || !/[" ]/.test(local), `${address} has quotes of its sender's`);
  }
}

export const DESTINATION_TARGET: Target = target(
  'destinations of what is picked up',
  0.02,
  'destinationHolds',
  [fc.array(rule, { minLength: 1, maxLength: 3 }), text, fc.array(text, { maxLength: 3 })],
  destinationHolds,
);
