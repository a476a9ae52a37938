/** The sandbox's own XML: strict in what it reads, safe in what it writes. */
import { describe, expect, it } from 'vitest';
import type { XmlElement } from '../../src/sandbox/xml.ts';
import { child, isTrue, readXml, textAt, valuesXml, xmlText } from '../../src/sandbox/xml.ts';

function read(document: string, isWhole = true): XmlElement {
  const root = readXml(document, isWhole);
  if (typeof root === 'string') throw new Error(root);
  return root;
}

describe('a document', () => {
  it('is read with namespaces, attributes, text and CDATA', () => {
    const root = read(
      '\ufeff<?xml version="1.0"?><!-- c --><a:r xmlns:a="urn:a" xmlns="urn:d" a:x="1" y="&lt;&#x41;\n"> t<b/><![CDATA[<&]]><c z="2">u</c> </a:r>\n',
    );
    expect(root).toEqual({
      name: 'r',
      namespace: 'urn:a',
      attributes: { x: '1', y: '<A ' },
      text: ' t<& ',
      children: [
        { name: 'b', namespace: 'urn:d', attributes: {}, children: [], text: '' },
        { name: 'c', namespace: 'urn:d', attributes: { z: '2' }, children: [], text: 'u' },
      ],
    });
  });

  it.each([
    ['', /./],
    ['  ', /./],
    ['text', /text/i],
    ['<a>', /unclosed/i],
    ['<a></b>', /unexpected close tag|unmatched/i],
    ['<a/><b/>', /root/i],
    ['<a b="1" b="2"/>', /duplicate/i],
    ['<a b=1/>', /quote/i],
    ['<a b/>', /attribute/i],
    ['<p:a/>', /prefix/i],
    ['<a>&nbsp;</a>', /entit/i],
    ['<a>&#0;</a>', /entity|character/i],
    ['<a>\u0000</a>', /character/i],
    ['<a>]]></a>', /./],
    ['<!DOCTYPE a><a/>', 'a document type is not allowed'],
    ['<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', /document type|entit/],
    ['<a><!-- -- --></a>', /comment/i],
  ])('%j is refused with a sentence', (document, sentence) => {
    const fault = readXml(document);
    expect(fault).toBeTypeOf('string');
    expect(fault).toMatch(sentence);
  });

  it('may be a beginning: what was opened is there', () => {
    expect(read('<a><b x="1">te', false)).toMatchObject({
      name: 'a',
      children: [{ name: 'b', attributes: { x: '1' } }],
    });
    expect(read('<a><b/><c', false)).toMatchObject({ name: 'a', children: [{ name: 'b' }] });
    expect(readXml('<a', false)).toBe('no document');
    expect(readXml('', false)).toBe('no document');
    expect(readXml('<a></b>', false)).toBeTypeOf('string');
  });

  it('of many octets takes no stack and little time', () => {
    const text = 'QUJD'.repeat(2_000_000);
    const begin = performance.now();
    expect(read(`<a>${text}</a>`).text.length).toBe(text.length);
    expect(performance.now() - begin).toBeLessThan(3_000);
  });
});

describe('looking into it', () => {
  const root = read('<a><b>1</b><b>2</b><c><d>3</d></c></a>');

  it('finds the first of a name', () => {
    expect(child(root, 'b')?.text).toBe('1');
    expect(child(root, 'x')).toBeUndefined();
    expect(child(undefined, 'b')).toBeUndefined();
  });

  it('finds text down a path, nothing where there is none', () => {
    expect(textAt(root, 'c', 'd')).toBe('3');
    expect(textAt(root, 'c', 'x', 'y')).toBe('');
    expect(textAt(undefined, 'c')).toBe('');
  });
});

describe('writing', () => {
  it.each(['<a href="b">&amp;</a>', ']]>', "it's", 'a\rb\r\nc\n\td', 'größer 日本 \u{1f600}', ' spaces  kept ', ''])(
    '%j comes back as it was, as text and as an attribute',
    (text) => {
      const root = read(`<a b="${xmlText(text)}">${xmlText(text)}</a>`);
      expect(root.text).toBe(text);
      expect(root.attributes['b']).toBe(text);
    },
  );

  it('puts U+FFFD for what XML cannot carry', () => {
    expect(read(`<a>${xmlText('a\u0000\u0008\u000b\u001fb\ud800c\uffff')}</a>`).text).toBe(
      'a\ufffd\ufffd\ufffd\ufffdb\ufffdc\ufffd',
    );
  });

  it('makes named values', () => {
    expect(valuesXml({})).toBe('');
    expect(valuesXml({ 'A"': '<1>', B: '2' })).toBe(
      '<t:Value Name="A&quot;">&lt;1&gt;</t:Value><t:Value Name="B">2</t:Value>',
    );
  });
});

describe('xs:boolean', () => {
  it.each([
    ['true', true],
    ['1', true],
    [' true\n', true],
    ['false', false],
    ['0', false],
    ['TRUE', false],
    ['yes', false],
    ['', false],
  ])('%j is %s', (text, truth) => expect(isTrue(text)).toBe(truth));
});
