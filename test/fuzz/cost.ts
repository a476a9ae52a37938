/**
 * What a header field made to be slow costs: the same few octets again and again, in each field that is looked into. Nothing
 * else is done while it is read, so it must not take more than a moment.
 */
import * as fc from 'fast-check';
import { splitHeader } from '../../src/mail/header.ts';
import { applyEnvelope } from '../../src/mail/recipients.ts';
import { cost, LARGE, LINEAR } from '../mail/cost.ts';
import { passed } from './header.ts';
import { mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const RECIPIENTS = ['a@x.test', 'b@x.test'];
const WAY = {
  recipients: RECIPIENTS,
  reversePath: 'a@x.test',
  headerOnly: 'drop',
  from: 'keep',
  chunk: LARGE,
} as const;

export async function costHolds(field: string, begin: string, piece: string, end: string): Promise<void> {
  const octets = Buffer.from(`${field}: ${begin}${piece.repeat(LARGE / 4 / piece.length)}${end}\r\n\r\n`);
  const received = await cost(() => passed(octets, WAY));
  mustHold(received < LINEAR, `taking it in took ${Math.round(received)} ms`);
  const sent = await cost(() => applyEnvelope(splitHeader(octets), RECIPIENTS));
  mustHold(sent < LINEAR, `addressing it took ${Math.round(sent)} ms`);
}

const scrap = fc.constantFrom(
  ...[
    '"',
    '\\"',
    '\\',
    '(',
    ')',
    '<',
    '>',
    '@',
    ',',
    ';',
    ':',
    ' ',
    '\t',
    '=',
    "'",
    '[',
    ']',
    '.',
    '{',
    '=?',
    '?=',
    '\r\n ',
  ],
  ...['a', 'é', 'a@x.test', '<a@x.test>', '=?utf-8?Q?a?=', '=?utf-8?B?', 'x=', '\0', '-', '/', 'for '],
);
const joined = (minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.array(scrap, { minLength, maxLength }).map((parts) => parts.join(''));
const fieldName = fc.constantFrom(
  ...[
    'To',
    'Cc',
    'From',
    'Sender',
    'Reply-To',
    'Subject',
    'Message-ID',
    'Content-Type',
    'Content-Disposition',
    'Received',
  ],
  ...['Delivered-To', 'Auto-Submitted', 'Date', 'X-Job', 'Content-Transfer-Encoding', 'X-SMTP2Exchange-Hop'],
);

export const COST_TARGET: Target = target(
  'header fields made to be slow',
  0.005,
  'costHolds',
  [fieldName, joined(0, 3), joined(1, 3), joined(0, 2)],
  costHolds,
);
