import * as fc from 'fast-check';
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { escapeXml, parseXml, readAnswer } from '../../src/exchange/soap.ts';
import { created, envelope, fault, foundItems, messageError } from './ews-peer.ts';

interface Dom {
  readonly DOMParser: new (options: { errorHandler: (level: string, message: string) => void }) => {
    parseFromString(
      text: string,
      type: string,
    ): {
      readonly documentElement: { readonly textContent: string; getAttribute(name: string): string };
    };
  };
}

/** The parser the EWS library brings along: an independent reader of what is escaped here. */
const { DOMParser } = createRequire(createRequire(import.meta.url).resolve('ews-javascript-api'))(
  '@xmldom/xmldom',
) as Dom;

function readBack(escaped: string): { text: string; attribute: string } {
  const parser = new DOMParser({
    errorHandler: (level, message) => {
      throw new Error(`${level}: ${message}`);
    },
  });
  const { documentElement } = parser.parseFromString(`<a b="${escaped}">${escaped}</a>`, 'text/xml');
  return { text: documentElement.textContent, attribute: documentElement.getAttribute('b') };
}

describe('escaping', () => {
  it.each([
    'a&b',
    'a<b>c',
    '"quoted"',
    "it's",
    ']]>',
    '<![CDATA[x]]>',
    '</t:Value><t:Evil/>',
    '&amp;',
    '&#0;',
    'tab\there',
    'line\r\nend',
    'ünï😀',
    '',
  ])('brings %j through unchanged, as content and as attribute', (text) => {
    const escaped = escapeXml(text);
    expect(readBack(escaped ?? '')).toEqual({ text, attribute: text });
    const own = parseXml(`<a b="${escaped}">${escaped}</a>`);
    expect(own).toMatchObject({ text, attributes: { b: text } });
  });

  it.each(['\0', 'a\u0008b', '\u000b', '\u001f', '\ufffe', '\uffff', '\ud800', 'x\udc00y'])('refuses %j', (text) => {
    expect(escapeXml(text)).toBeUndefined();
  });

  it('brings any text through, or refuses it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (text) => {
        const escaped = escapeXml(text);
        if (escaped === undefined) return;
        expect(escaped).not.toMatch(/[<>"']/);
        expect(parseXml(`<a b="${escaped}">${escaped}</a>`)).toMatchObject({ text, attributes: { b: text } });
      }),
      { numRuns: 500 },
    );
  });
});

describe('the reader', () => {
  it.each([
    ['a cut-off document', '<a><b></b>'],
    ['a cut-off tag', '<a><b'],
    ['crossed tags', '<a><b></a></b>'],
    ['a closing tag without beginning', '</a>'],
    ['two roots', '<a/><b/>'],
    ['a second root that is cut off', '<a/><b>'],
    ['text around the root', '<a/>text'],
    ['nothing', ''],
    ['blanks', '  \n '],
    ['JSON', '{"a": 1}'],
    ['HTML with open tags', '<html><body><br></body></html>'],
    ['a DTD', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['an unknown entity', '<a>&nbsp;</a>'],
    ["an entity named like an object's property", '<a>&constructor;</a>'],
    ['a bare ampersand', '<a>b & c</a>'],
    ['an attribute without quotes', '<a b=c/>'],
    ['an attribute twice', '<a b="1" b="2"/>'],
    ['a < in an attribute', '<a b="<"/>'],
    [']]> in text', '<a>]]></a>'],
    ['a control character', '<a>\u0001</a>'],
    ['a reference to a control character', '<a>&#1;</a>'],
    ['a reference beyond Unicode', '<a>&#x110000;</a>'],
    ['a name of letters XML has not', '<\u00aa/>'],
    ['a name that begins with a combining mark', '<a\u0300><\u0300/></a\u0300>'],
    ['a non-breaking space where a blank belongs', '<a\u00a0b="c"/>'],
    ['a line separator in front', '\u2028<a/>'],
    ['a non-breaking space behind', '<a/>\u00a0'],
    ['endless depth', '<a>'.repeat(5000) + '</a>'.repeat(5000)],
  ])('does not take %s', (_what, text) => {
    expect(parseXml(text)).toBeUndefined();
  });

  it('reads prefixes, comments, CDATA, references, attributes and empty elements', () => {
    const text =
      '\ufeff<?xml version="1.0"?><!-- a -->\n<x:a xmlns:x="urn:x" x:b=\'1 "2"\'><!--c--><x:d/>t&lt;<![CDATA[<&]]>&#x41;&#66;<?p?></x:a >\n';
    expect(parseXml(text)).toEqual({
      name: 'a',
      attributes: { b: '1 "2"' },
      children: [{ name: 'd', attributes: {}, children: [], text: '' }],
      text: 't<<&AB',
    });
  });

  it('takes every answer only as a whole', () => {
    const text = messageError('ErrorServerBusy', { values: { BackOffMilliseconds: '1' } });
    for (let length = 0; length < text.length; length++) expect(parseXml(text.slice(0, length))).toBeUndefined();
    expect(parseXml(text)).toBeDefined();
  });

  it('never throws, whatever comes', () => {
    const piece = fc.constantFrom(
      '<',
      '>',
      '/',
      '&',
      ';',
      '"',
      "'",
      '=',
      ' ',
      'a',
      ':',
      '!',
      '--',
      '?',
      '[CDATA[',
      ']]>',
      '#',
      '1',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 25 }), (pieces) => {
        expect(() => [parseXml(pieces.join('')), readAnswer(pieces.join(''))]).not.toThrow();
      }),
      { numRuns: 2000 },
    );
  });

  it('is not slowed down by what is made to slow it down', () => {
    const began = performance.now();
    for (const text of [
      '<a '.repeat(200_000),
      `<a${' '.repeat(500_000)}`,
      `<!--${'-'.repeat(500_000)}`,
      '&'.repeat(500_000),
    ]) {
      expect(parseXml(text)).toBeUndefined();
    }
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

function bare(code: string): string {
  return envelope(`<s:Fault><faultcode>${code}</faultcode><faultstring>No.</faultstring></s:Fault>`);
}

describe('what an answer says', () => {
  it('success', () => {
    expect(readAnswer(created())).toMatchObject({ kind: 'messages', operation: 'CreateItem', errors: [undefined] });
    expect(readAnswer(foundItems(['a']))).toMatchObject({ operation: 'FindItem', errors: [undefined] });
  });

  it('an error inside a response, with its back-off', () => {
    const text = messageError('ErrorServerBusy', {
      text: 'Busy &amp; more',
      values: { BackOffMilliseconds: '297749' },
    });
    expect(readAnswer(text)).toMatchObject({
      errors: [{ code: 'ErrorServerBusy', message: 'Busy & more', backOff: 297_749 }],
    });
  });

  it('a warning: NoError is a success, another code is not', () => {
    expect(readAnswer(messageError('NoError', { responseClass: 'Warning' }))).toMatchObject({ errors: [undefined] });
    expect(readAnswer(messageError('ErrorBatchProcessingStopped', { responseClass: 'Warning' }))).toMatchObject({
      errors: [{ code: 'ErrorBatchProcessingStopped' }],
    });
  });

  it('a class of Error is never success', () => {
    expect(readAnswer(messageError('NoError'))).toMatchObject({ errors: [{ code: 'NoError' }] });
  });

  it('a fault with detail, with its back-off', () => {
    const text = fault('ErrorServerBusy', { values: { BackOffMilliseconds: '1500' } });
    expect(readAnswer(text)).toEqual({
      kind: 'fault',
      told: { code: 'ErrorServerBusy', message: 'It did not work.', backOff: 1500 },
    });
  });

  it('the inner code of an internal server error', () => {
    const values = { InnerErrorResponseCode: 'ErrorMailboxMoveInProgress' };
    expect(readAnswer(fault('ErrorInternalServerError', { values }))).toMatchObject({
      told: { code: 'ErrorMailboxMoveInProgress' },
    });
    expect(readAnswer(messageError('ErrorAccessDenied', { values }))).toMatchObject({
      errors: [{ code: 'ErrorAccessDenied' }],
    });
  });

  it('a fault without detail: a bare code, or none', () => {
    expect(readAnswer(bare('ErrorImpersonateUserDenied'))).toMatchObject({
      told: { code: 'ErrorImpersonateUserDenied', message: 'No.' },
    });
    expect(readAnswer(bare('s:Client'))).toMatchObject({ told: { code: '', message: 'No.' } });
  });

  it('a code that is no word goes into no log', () => {
    expect(readAnswer(messageError('x@y.z&#10;evil'))).toMatchObject({ errors: [{ code: 'ErrorUnreadable' }] });
  });

  it.each([
    ['an envelope without body', '<s:Envelope xmlns:s="x"/>'],
    ['an empty body', envelope('')],
    ['another document', '<html/>'],
    ['a response without messages', envelope('<m:CreateItemResponse/>')],
    ['a message without class', created().replace(' ResponseClass="Success"', '')],
    ['a message without code', created().replace('<m:ResponseCode>NoError</m:ResponseCode>', '')],
  ])('%s is no answer', (_what, text) => {
    expect(readAnswer(text)).toBeUndefined();
  });
});
