/**
 * XML for the sandbox: a strict, namespace-aware reading of what a client sent, and text for what is answered. It shares
 * nothing with the gateway's own reader, so that neither forgives what the other gets wrong. The only file that knows saxes.
 */
import { SaxesParser } from 'saxes';

export interface XmlElement {
  /** Local name. */
  readonly name: string;
  readonly namespace: string;
  /** By local name. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** Text directly inside. */
  readonly text: string;
}

/**
 * The document's root, or the parser's sentence about what is wrong with it. With `isWhole` false the document may end
 * anywhere, as the beginning of one does: what has been opened so far is there.
 */
export function readXml(document: string, isWhole = true): XmlElement | string {
  const parser = new SaxesParser({ xmlns: true });
  interface Open extends XmlElement {
    readonly children: XmlElement[];
    text: string;
  }
  const open: Open[] = [];
  let root: XmlElement | undefined;
  let fault: string | undefined;
  parser.on('error', (error) => (fault ??= error.message));
  parser.on('doctype', () => (fault ??= 'a document type is not allowed'));
  parser.on('opentag', (tag) => {
    const attributes: Record<string, string> = {};
    for (const { prefix, local, value } of Object.values(tag.attributes))
      if (prefix !== 'xmlns' && local !== 'xmlns') attributes[local] = value;
    const element: Open = { name: tag.local, namespace: tag.uri, attributes, children: [], text: '' };
    const parent = open.at(-1);
    if (parent) parent.children.push(element);
    else root ??= element;
    open.push(element);
  });
  const addText = (text: string): void => {
    const current = open.at(-1);
    if (current) current.text += text;
  };
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('closetag', () => void open.pop());
  parser.write(document);
  if (isWhole) parser.close();
  return fault ?? root ?? 'no document';
}

export function child(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((one) => one.name === name);
}

/** Text of the element found by going down the names; '' if there is none. */
export function textAt(element: XmlElement | undefined, ...names: readonly string[]): string {
  let current = element;
  for (const name of names) current = child(current, name);
  return current?.text ?? '';
}

/** An xs:boolean. */
export function isTrue(text: string): boolean {
  return /^\s*(true|1)\s*$/.test(text);
}

/** For element content and attribute values; what XML cannot carry becomes U+FFFD, as Exchange does it. */
export function xmlText(text: string): string {
  return (
    text
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex -- those are what XML cannot carry
      .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      // A parser would make line feeds and spaces of them.
      .replace(/[\t\n\r]/g, (one) => `&#${one.charCodeAt(0)};`)
  );
}

/** The named values of a MessageXml. */
export function valuesXml(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `<t:Value Name="${xmlText(name)}">${xmlText(value)}</t:Value>`)
    .join('');
}
