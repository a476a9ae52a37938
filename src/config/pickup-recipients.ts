/**
 * What the rules demand by which a pickup finds recipients: patterns and addresses that can be used, examples that hold,
 * and none that is never looked at. Looks at what could be read; never fails.
 */
import { checkRule, destinationOf } from '../mail/destination.ts';
import type { DestinationRule } from '../mail/destination.ts';
import type { Path } from './fault.ts';
import type { Context, SoundPickup } from './sound.ts';

type SoundRule = NonNullable<NonNullable<SoundPickup['recipients']>[number]>;

/** Stands for a mailbox that is at fault itself. */
const SOME_MAILBOX = 'fax@contoso.com';

export function checkRecipients(
  { recipients = [], deliver, mailbox }: SoundPickup,
  base: Path,
  context: Context,
): void {
  const path = [...base, 'recipients'];
  recipients.forEach((rule, index) => {
    if (rule !== undefined) checkRecipient(rule, [...path, index], mailbox ?? SOME_MAILBOX, context);
  });
  const last = recipients.findIndex((rule) => rule?.in === 'always');
  if (last < 0) return;
  for (let index = last + 1; index < recipients.length; index++)
    context.fault(
      [...path, index],
      `comes after recipients[${last}], which is for all mail`,
      'put that last; in: always finds its address in every mail',
    );
  if (deliver?.smtp?.to !== undefined)
    context.fault(
      [...base, 'deliver', 'smtp', 'to'],
      `is given, but recipients[${last}] is for all mail`,
      'remove one of the two',
    );
}

function checkRecipient(rule: SoundRule, path: Path, mailbox: string, { fault, isWhole }: Context): void {
  const { in: place, to, pattern, digits = false, tests = [] } = rule;
  if (place === undefined || to === undefined || !isWhole([...path, 'pattern'])) return;
  if (place === 'always' && pattern !== undefined)
    return fault([...path, 'pattern'], 'is given, but in is always: there is no text to look at', 'remove it');
  if (place === 'subject' && pattern === undefined)
    return fault([...path, 'in'], 'is subject, but there is no pattern', 'add pattern');
  if (place === 'recipient' && pattern === undefined)
    return fault([...path, 'in'], 'is recipient, but there is no pattern', 'add pattern');
  const whole: DestinationRule = { in: place, to, digits, ...(pattern === undefined ? {} : { pattern }) };
  const wrong = checkRule(whole);
  if (wrong !== undefined) return fault([...path, wrong.part], wrong.problem);
  tests.forEach((test, index) => {
    if (test?.text === undefined || test.gives === undefined) return;
    const found = destinationOf(whole, test.text, mailbox);
    const wanted = test.gives === 'none' ? [] : test.gives.split(',').map((one) => one.trim());
    const same = found.length === wanted.length && found.every((one, at) => one === wanted[at]);
    // Which address it is would be a value of the file.
    if (!same)
      fault(
        [...path, 'tests', index, 'gives'],
        `does not hold: what results is ${count(found.length)}`,
        'mend the pattern, or the example',
      );
  });
}

function count(found: number): string {
  return found === 0 ? 'none' : found === 1 ? 'another address' : `${found} addresses, not these in this order`;
}
