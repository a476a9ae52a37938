/**
 * SOAP as text: escaping what goes in, and reading what comes back without trusting it. The reader takes only complete,
 * well-formed documents without a DTD (XML 1.0, the part SOAP 1.1 section 3 allows); anything else is undefined, never a
 * throw. Element names are compared without their prefix: real servers differ in the prefixes they use.
 */

/** Characters XML 1.0 cannot carry in any form (section 2.2), lone surrogates included. */
const FORBIDDEN = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;

const ALL_FORBIDDEN = new RegExp(FORBIDDEN, 'gu');

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;', // also ends the danger of ]]>
  '"': '&quot;',
  "'": '&apos;',
  // As references, because a parser turns them into spaces or line feeds otherwise.
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

/** For element content and attribute values alike. Undefined: it holds a character that XML cannot carry. */
export function escapeXml(text: string): string | undefined {
  return FORBIDDEN.test(text) ? undefined : text.replace(/[&<>"'\t\n\r]/g, (character) => ESCAPES[character] ?? '');
}

/**
 * The text without what XML 1.0 cannot carry: Exchange puts a control character of a header into its answer as it is, or
 * as a reference.
 */
export function withoutForbidden(text: string): string {
  return text
    .replace(/&#(?:(\d{1,7})|x([0-9A-Fa-f]{1,6}));/g, (reference, decimal?: string, hex = '') => {
      const point = decimal === undefined ? parseInt(hex, 16) : Number(decimal);
      return point > 0x10ffff || FORBIDDEN.test(String.fromCodePoint(point)) ? '\ufffd' : reference;
    })
    .replace(ALL_FORBIDDEN, '\ufffd');
}

export interface XmlElement {
  /** Without prefix. */
  readonly name: string;
  /** By local name; namespace declarations are left out. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Text directly inside, entities resolved. */
  readonly text: string;
}

interface OpenElement {
  readonly tag: string;
  readonly element: { name: string; attributes: Record<string, string>; children: XmlElement[]; text: string };
}

/** XML 1.0 section 2.3. */
const NAME_START = String.raw`:A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\u{10000}-\u{effff}`;
const NAME = String.raw`[${NAME_START}][${NAME_START}\-.0-9\u00b7\u0300-\u036f\u203f\u2040]*`;
/** Less than \\s: a non-breaking space is none. */
const S = String.raw`[ \t\r\n]`;
const ATTRIBUTE = new RegExp(String.raw`${S}+(${NAME})${S}*=${S}*("[^"<]*"|'[^'<]*')`, 'uy');
const START = new RegExp(`<(${NAME})`, 'uy');
const CLOSE = new RegExp(String.raw`${S}*(\/?)>`, 'uy');
const END = new RegExp(String.raw`</(${NAME})${S}*>`, 'uy');
/** Comments and processing instructions; the name xml is the declaration's (XML 1.0 section 2.6). */
const IGNORED = new RegExp(
  String.raw`<!--(?:(?!--)[^])*-->|<\?(?![Xx][Mm][Ll][ \t\r\n?])${NAME}(?:${S}[^]*?)?\?>`,
  'uy',
);
/** XML 1.0 section 2.8: only at the very beginning. */
const DECLARATION = new RegExp(
  String.raw`<\?xml${S}+version${S}*=${S}*(["'])1\.\d+\1(?:${S}+encoding${S}*=${S}*(["'])[A-Za-z][\w.-]*\2)?(?:${S}+standalone${S}*=${S}*(["'])(?:yes|no)\3)?${S}*\?>`,
  'uy',
);
const CDATA = /<!\[CDATA\[([^]*?)\]\]>/uy;
const DEPTH = 64;

/** The document's root, or undefined if the text is not one complete well-formed document. */
export function parseXml(text: string): XmlElement | undefined {
  if (FORBIDDEN.test(text)) return undefined;
  const open: OpenElement[] = [];
  let root: XmlElement | undefined;
  let at = text.startsWith('\ufeff') ? 1 : 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text) ?? undefined;
    if (found) at = pattern.lastIndex;
    return found;
  };
  match(DECLARATION);
  const finish = (element: XmlElement): boolean => {
    const parent = open.at(-1);
    if (parent) parent.element.children.push(element);
    else if (root) return false;
    else root = element;
    return true;
  };
  while (at < text.length) {
    const current = open.at(-1);
    if (text[at] !== '<') {
      const next = text.indexOf('<', at);
      const raw = text.slice(at, next < 0 ? text.length : next);
      at += raw.length;
      const value = current ? unescapeXml(raw) : raw;
      if (value === undefined || (current ? raw.includes(']]>') : /[^ \t\r\n]/.test(raw))) return undefined;
      if (current) current.element.text += value;
      continue;
    }
    if (match(IGNORED)) continue;
    if (current) {
      const cdata = match(CDATA);
      if (cdata) {
        current.element.text += cdata[1] ?? '';
        continue;
      }
    }
    const end = match(END);
    if (end) {
      if (!current || current.tag !== end[1]) return undefined;
      open.pop();
      if (!finish(current.element)) return undefined;
      continue;
    }
    const start = match(START);
    if (!start || open.length >= DEPTH) return undefined;
    const tag = start[1] ?? '';
    const attributes = readAttributes(match);
    const close = match(CLOSE);
    if (!attributes || !close) return undefined;
    const element = { name: local(tag), attributes, children: [], text: '' };
    if (close[1] === '') open.push({ tag, element });
    else if (!finish(element)) return undefined;
  }
  return open.length === 0 ? root : undefined;
}

function readAttributes(match: (pattern: RegExp) => RegExpExecArray | undefined): Record<string, string> | undefined {
  const attributes: Record<string, string> = {};
  const seen = new Set<string>();
  for (let found = match(ATTRIBUTE); found; found = match(ATTRIBUTE)) {
    const [, name = '', quoted = ''] = found;
    const value = unescapeXml(quoted.slice(1, -1));
    if (value === undefined || seen.has(name)) return undefined;
    seen.add(name);
    if (name !== 'xmlns' && !name.startsWith('xmlns:')) attributes[local(name)] = value;
  }
  return attributes;
}

const ENTITIES = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

function unescapeXml(raw: string): string | undefined {
  if (!raw.includes('&')) return raw;
  let isSound = true;
  const text = raw.replace(/&(?:#(\d{1,7})|#x([0-9A-Fa-f]{1,6})|(\w+));|&/g, (_all, decimal, hex, name) => {
    const point = decimal === undefined ? parseInt(hex ?? '-1', 16) : Number(decimal);
    const character =
      name === undefined
        ? point >= 0 && point <= 0x10ffff
          ? String.fromCodePoint(point)
          : undefined
        : ENTITIES.get(name);
    if (character === undefined || FORBIDDEN.test(character)) isSound = false;
    return character ?? '';
  });
  return isSound ? text : undefined;
}

function local(tag: string): string {
  return tag.slice(tag.indexOf(':') + 1);
}

/** What the server says about one request or item. */
export interface Told {
  /** ResponseCode; '' where the server gave none. */
  readonly code: string;
  /** For people; may hold addresses. */
  readonly message: string;
  /** Milliseconds (BackOffMilliseconds). */
  readonly backOff?: number;
}

export type SoapAnswer =
  | { readonly kind: 'fault'; readonly told: Told }
  | {
      readonly kind: 'messages';
      readonly operation: string;
      /** One per item or folder. */
      readonly messages: readonly XmlElement[];
      /** What each message tells of trouble; undefined for success. */
      readonly errors: readonly (Told | undefined)[];
    };

/** Undefined: not a complete answer of EWS. */
export function readAnswer(text: string): SoapAnswer | undefined {
  const root = parseXml(text);
  if (root?.name !== 'Envelope') return undefined;
  const content = child(root, 'Body')?.children[0];
  if (!content) return undefined;
  if (content.name === 'Fault') return { kind: 'fault', told: readFault(content) };
  // Gromox names it Responses in its answer to SendItem.
  const messages = (child(content, 'ResponseMessages') ?? child(content, 'Responses'))?.children ?? [];
  if (messages.length === 0 || !content.name.endsWith('Response')) return undefined;
  const errors: (Told | undefined)[] = [];
  for (const message of messages) {
    const told = readTold(message);
    const responseClass = message.attributes['ResponseClass'];
    if (responseClass === undefined || told.code === '') return undefined;
    errors.push(responseClass !== 'Error' && told.code === 'NoError' ? undefined : told);
  }
  return { kind: 'messages', operation: content.name.slice(0, -'Response'.length), messages, errors };
}

function readFault(fault: XmlElement): Told {
  const told = readTold(child(fault, 'detail') ?? fault);
  // Gromox sends a bare code as faultcode and no detail; Exchange a prefixed one beside the detail.
  const faultCode = local(child(fault, 'faultcode')?.text.trim() ?? '');
  return {
    ...told,
    code: told.code === '' && faultCode.startsWith('Error') ? faultCode : told.code,
    message: told.message === '' ? (child(fault, 'faultstring')?.text.trim() ?? '') : told.message,
  };
}

function readTold(element: XmlElement): Told {
  const values = child(element, 'MessageXml')?.children.filter(({ name }) => name === 'Value') ?? [];
  const value = (name: string): string =>
    values.find(({ attributes }) => attributes['Name'] === name)?.text.trim() ?? '';
  const code = word(child(element, 'ResponseCode')?.text ?? '');
  const inner = word(value('InnerErrorResponseCode'));
  const message = child(element, 'MessageText') ?? child(element, 'Message');
  const backOff = Number(value('BackOffMilliseconds'));
  return {
    // The general code says nothing where a better one stands inside.
    code: code === 'ErrorInternalServerError' && inner !== '' && inner !== 'NoError' ? inner : code,
    message: message?.text.trim() ?? '',
    ...(Number.isFinite(backOff) && backOff > 0 ? { backOff } : {}),
  };
}

/** A code goes into logs and metrics: what is no plain word is as good as none, but not success. */
function word(text: string): string {
  const trimmed = text.trim();
  return trimmed === '' || /^[A-Za-z]\w{0,79}$/.test(trimmed) ? trimmed : 'ErrorUnreadable';
}

/** The first element of that local name directly inside. */
export function child(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((one) => one.name === name);
}

/** The elements of that local name, in document order. */
export function all(element: XmlElement, name: string): XmlElement[] {
  return [...(element.name === name ? [element] : []), ...element.children.flatMap((one) => all(one, name))];
}
