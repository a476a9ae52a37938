/**
 * Answers of Exchange, mutated: reading them never throws, and nothing is read from what is no XML. A document that a strict
 * parser refuses is no success, and an answer that is told as one says so in each of its messages.
 */
import * as fc from 'fast-check';
import { SaxesParser } from 'saxes';
import { escapeXml, parseXml, readAnswer } from '../../src/exchange/soap.ts';
import { child, readXml, textAt } from '../../src/sandbox/xml.ts';
import { edited, edits, mustHold, target } from './target.ts';
import type { Target } from './target.ts';

const OPENING =
  '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><h:ServerVersionInfo xmlns:h="urn:t" MajorVersion="15"/></s:Header><s:Body>';
const CLOSING = '</s:Body></s:Envelope>';
const MESSAGE = (code: string, kind = code === 'NoError' ? 'Success' : 'Error'): string =>
  `<m:CreateItemResponseMessage ResponseClass="${kind}"><m:MessageText>It's &lt;so&gt; &#x41;</m:MessageText><m:ResponseCode>${code}</m:ResponseCode><m:MessageXml><t:Value xmlns:t="urn:t" Name="BackOffMilliseconds">1000</t:Value></m:MessageXml><m:Items/></m:CreateItemResponseMessage>`;
const messages = (...all: string[]): string =>
  `${OPENING}<m:CreateItemResponse xmlns:m="urn:m"><m:ResponseMessages>${all.join('')}</m:ResponseMessages></m:CreateItemResponse>${CLOSING}`;

const ANSWERS = [
  messages(MESSAGE('NoError')),
  messages(MESSAGE('NoError'), MESSAGE('ErrorSendAsDenied')),
  messages(MESSAGE('ErrorServerBusy')),
  messages(MESSAGE('NoError', 'Warning'), '<!-- a comment --><![CDATA[ ]]>'),
  `${OPENING}<s:Fault><faultcode xmlns:a="urn:t">a:ErrorServerBusy</faultcode><faultstring xml:lang="en">Busy.</faultstring><detail><e:ResponseCode xmlns:e="urn:e">ErrorServerBusy</e:ResponseCode></detail></s:Fault>${CLOSING}`,
  '<html><head><title>Bad gateway</title></head><body><hr noshade>502<br></body></html>',
];
const SCRAPS = [
  ...[
    '<',
    '>',
    '&',
    '"',
    "'",
    '<!--',
    '-->',
    '--',
    ']]>',
    '<![CDATA[',
    '<?x',
    '?>',
    '<?xml version="1.0"?>',
    '<?xml?>',
  ],
  ...[
    '<!DOCTYPE a>',
    '<!DOCTYPE a [<!ENTITY b "c">]>',
    '&b;',
    '&#0;',
    '&#x110000;',
    '&#xd800;',
    '&#38;',
    '&amp;',
    '&;',
  ],
  ...[
    '</s:Body>',
    '<a>',
    '</a>',
    '<a/>',
    '<a b="c" b="d"/>',
    '<a b=c/>',
    '<a b="<"/>',
    '<ª/>',
    '<a:b:c/>',
    '<:/>',
    '<-/>',
  ],
  ...[
    'xmlns="urn:x"',
    ' ',
    '\t',
    '\r\n',
    '\n',
    '/',
    '=',
    ':',
    '\0',
    '\u000b',
    '\u00a0',
    '\ufeff',
    '\ufffe',
    '\ud800',
    'é',
  ],
  ...[
    'Error',
    'NoError',
    'Success',
    'ResponseClass="Success"',
    '<m:ResponseCode>NoError</m:ResponseCode>',
    '·',
    '\u2028',
  ],
];

/** Of XML 1.0; namespaces aside, which EWS is not read by. */
function isWellFormed(text: string): boolean {
  const parser = new SaxesParser({ xmlns: false });
  let isSound = true;
  parser.on('error', () => (isSound = false));
  parser.on('doctype', () => (isSound = false));
  parser.write(text).close();
  return isSound;
}

export function answerHolds(text: string): void {
  const document = parseXml(text);
  const answer = readAnswer(text);
  if (document !== undefined) mustHold(isWellFormed(text), 'what is no XML was read');
  if (answer === undefined) return;
  mustHold(document?.name === 'Envelope', 'an answer was read from something else');
  if (answer.kind === 'fault' || answer.errors.some((error) => error !== undefined)) return;
  mustHold(answer.errors.length > 0, 'success of nothing');
  // Prefixes that are declared nowhere are the only thing in which the sandbox's reader is stricter.
  const strict = readXml(text);
  if (typeof strict === 'string') return;
  const list = child(child(strict, 'Body')?.children[0], 'ResponseMessages')?.children ?? [];
  mustHold(
    list.length === answer.errors.length &&
      list.every(
        (one) => one.attributes['ResponseClass'] !== 'Error' && textAt(one, 'ResponseCode').trim() === 'NoError',
      ),
    'success was read where none is told',
  );
}

/** Whatever is put into a request comes back, or is refused. */
export function escapeHolds(text: string): void {
  const escaped = escapeXml(text);
  if (escaped === undefined) return;
  const read = parseXml(`<a b="${escaped}">${escaped}</a>`);
  mustHold(read?.text === text && read.attributes['b'] === text, `came back as ${JSON.stringify(read)}`);
  mustHold(isWellFormed(`<a b="${escaped}">${escaped}</a>`), 'what was written is no XML');
}

const mutated = fc.tuple(fc.constantFrom(...ANSWERS), edits(SCRAPS)).map(([text, list]) => edited(text, list));
const garbage = fc
  .array(fc.constantFrom(...SCRAPS, 'a', 's:Envelope'), { maxLength: 12 })
  .map((parts) => parts.join(''));
const cutShort = fc
  .tuple(fc.constantFrom(...ANSWERS), fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([text, share]) => text.slice(0, Math.floor(share * text.length)));

export const ANSWER_TARGETS: readonly Target[] = [
  target(
    'answers of Exchange',
    0.16,
    'answerHolds',
    [
      fc.oneof(
        { weight: 8, arbitrary: mutated },
        { weight: 1, arbitrary: garbage },
        { weight: 1, arbitrary: cutShort },
        { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
      ),
    ],
    answerHolds,
  ),
  target('text in requests', 0.03, 'escapeHolds', [fc.string({ unit: 'binary', maxLength: 40 })], escapeHolds),
];
