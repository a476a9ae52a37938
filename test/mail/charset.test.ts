/** When a body is declared, and as what. */
import { describe, expect, it } from 'vitest';
import { charsetOf, declareCharset, needsDeclaration } from '../../src/mail/charset.ts';
import { splitHeader } from '../../src/mail/header.ts';

const header = (...lines: string[]): ReturnType<typeof splitHeader> =>
  splitHeader(Buffer.from(lines.map((line) => `${line}\r\n`).join('')));

describe('a body is looked at', () => {
  it.each<[string, string[], boolean]>([
    ['without any declaration', ['Subject: x'], true],
    ['for text without a charset', ['Content-Type: text/plain'], true],
    [
      'for text with another parameter only',
      ['Content-Type: text/html; name="charset=x"', 'Content-Transfer-Encoding: 8bit'],
      true,
    ],
    ['for text without an encoding', ['Content-Type: text/plain; charset=utf-8'], true],
    [
      'for text that calls itself 7bit',
      ['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: 7bit'],
      true,
    ],
    [
      'not for text that says all',
      ['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: 8bit'],
      false,
    ],
    [
      'for text that calls itself US-ASCII',
      ['Content-Type: text/plain; charset="US-ASCII"; format=flowed', 'Content-Transfer-Encoding: 8bit'],
      true,
    ],
    ['not for encoded text', ['Content-Type: text/plain; charset=x', 'Content-Transfer-Encoding: base64'], false],
    ['not for several parts', ['Content-Type: multipart/mixed; boundary=x'], false],
    ['not for what is no text', ['content-type: application/pdf'], false],
  ])('%s', (_what, lines, needed) => {
    expect(needsDeclaration(header(...lines))).toBe(needed);
  });
});

describe('its charset', () => {
  const utf8 = Buffer.from('Grüße 用户');
  it.each<[string, Buffer, boolean, string | undefined]>([
    ['ASCII', Buffer.from('plain'), false, undefined],
    ['empty', Buffer.alloc(0), true, undefined],
    ['UTF-8', utf8, false, 'utf-8'],
    ['Latin-1', Buffer.from('Gr\xfc\xdfe', 'latin1'), false, 'iso-8859-1'],
    ['Latin-1 at the very end', Buffer.from('caf\xe9', 'latin1'), false, 'iso-8859-1'],
    ['UTF-8 cut in a character', utf8.subarray(0, utf8.length - 1), true, 'utf-8'],
    ['UTF-8 cut after two octets of three', utf8.subarray(0, utf8.length - 2), true, 'utf-8'],
    ['Windows quotes and a dash', Buffer.from('\x93Gr\xfc\xdfe\x94 \x96 x', 'latin1'), false, 'windows-1252'],
    ['a Windows euro sign', Buffer.from('5 \x80', 'latin1'), false, 'windows-1252'],
    ['the last octet that only Windows has', Buffer.from('\x9f', 'latin1'), false, 'windows-1252'],
    ['the first octet of Latin-1', Buffer.from('\xa0', 'latin1'), false, 'iso-8859-1'],
    ['UTF-8 that ends in a broken character', utf8.subarray(0, utf8.length - 1), false, 'windows-1252'],
    ['Latin-1, cut right behind its only letter', Buffer.from('x \xe9  ', 'latin1'), true, 'iso-8859-1'],
    ['Latin-1, cut, with what begins no character', Buffer.from('x \xff', 'latin1'), true, 'iso-8859-1'],
    ['UTF-8 cut after three octets of four', Buffer.from('\u00fc \u{1f600}').subarray(0, 6), true, 'utf-8'],
    ['UTF-8 with a byte order mark', Buffer.from('\ufeffx'), true, 'utf-8'],
    ['Latin-1, cut', Buffer.from('\xfcber Gr\xfcn ', 'latin1'), true, 'iso-8859-1'],
  ])('%s', (_what, body, isCut, charset) => {
    expect(charsetOf(body, isCut)).toBe(charset);
  });
});

describe('the declaration', () => {
  it.each<[string, string[], string[]]>([
    [
      'is added',
      ['Subject: x'],
      ['Subject: x', 'Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: 8bit'],
    ],
    [
      'completes a type, and corrects 7bit',
      ['Content-Transfer-Encoding: 7bit', 'Content-Type: text/html; name=x', 'Subject: x'],
      ['Subject: x', 'Content-Type: text/html; name=x; charset=utf-8', 'Content-Transfer-Encoding: 8bit'],
    ],
    [
      'believes a charset that is named',
      ['Content-Type: text/plain; charset=windows-1252'],
      ['Content-Type: text/plain; charset=windows-1252', 'Content-Transfer-Encoding: 8bit'],
    ],
    [
      'takes the place of US-ASCII, which has no 8-bit octets',
      ['Content-Type: text/plain; charset="US-ASCII"; format=flowed', 'Content-Transfer-Encoding: 8bit'],
      ['Content-Transfer-Encoding: 8bit', 'Content-Type: text/plain; format=flowed; charset=utf-8'],
    ],
    [
      'leaves another encoding',
      ['Content-Transfer-Encoding: quoted-printable'],
      ['Content-Transfer-Encoding: quoted-printable', 'Content-Type: text/plain; charset=utf-8'],
    ],
  ])('%s', (_what, before, after) => {
    const fields = declareCharset(header(...before), 'utf-8');
    expect(fields.map(({ raw }) => raw.toString().replace(/\r\n$/, ''))).toEqual(after);
    expect(needsDeclaration(fields)).toBe(false);
  });
});
