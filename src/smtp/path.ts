/**
 * Reads the path and the parameters of MAIL and RCPT (RFC 5321 section 4.1.2). Pure; what cannot be read is undefined.
 * One address has one form: a quoted local part that needs no quotes loses them, so that a rule for an address cannot be
 * passed by writing it otherwise.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { domainToUnicode } from 'node:url';

export interface PathMode {
  /** Tolerate what old devices send: see readPath(). */
  readonly lenient: boolean;
  /** Domain of an address without one. */
  readonly completeDomain: string;
}

export type Parameters = Record<string, string | true>;

export interface PathCommand {
  /** '' is the null reverse-path. */
  readonly address: string;
  /** Names in upper case, values decoded from xtext (RFC 3461 section 4). */
  readonly args: false | Parameters;
  /** A parameter that stands there twice. */
  readonly duplicate?: string;
}

export type Verb = 'MAIL FROM' | 'RCPT TO';

/** What may stand behind each; others are an error (RFC 5321 section 4.1.1.11), or overlooked. */
const KNOWN: Readonly<Record<Verb, ReadonlySet<string>>> = {
  'MAIL FROM': new Set(['SIZE', 'BODY', 'SMTPUTF8', 'RET', 'ENVID', 'AUTH']),
  'RCPT TO': new Set(['NOTIFY', 'ORCPT']),
};

/** Local part, @ and domain: RFC 5321 section 4.5.3.1.3 without the brackets. */
const LONGEST = 254;
// Control characters, and those that cannot be seen.
// oxlint-disable-next-line no-control-regex -- they are meant
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u200b\u2060\ufeff]/;
// oxlint-disable-next-line no-control-regex -- they are meant
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;
/** RFC 5321 section 4.1.2. */
const KEYWORD = /^[A-Z\d][A-Z\d-]*$/;
const DOT_ATOM = /^[\w!#$%&'*+\-/=?^`{|}~\u{a0}-\u{10ffff}]+(?:\.[\w!#$%&'*+\-/=?^`{|}~\u{a0}-\u{10ffff}]+)*$/u;
const ODD_LOCAL = /^[\w!#$%&'*+\-/=?^`{|}~.\u{a0}-\u{10ffff}]+$/u;
/** RFC 5321 section 4.1.1.3, appendix C: a source route is accepted and ignored. */
const SOURCE_ROUTE = /^@[^\s,:@]+(?:,@[^\s,:@]+)*:/;

/**
 * Lenient is: blanks around the colon or none of it, no brackets or half of them, a display name in front, no domain,
 * underscores and a dot at the end of the domain, dots anywhere in the local part, parameters nobody knows.
 * @param line the command line, its verb included
 */
export function readPath(verb: Verb, line: string, mode: PathMode): PathCommand | undefined {
  const begin = mode.lenient ? LENIENT_BEGIN[verb] : STRICT_BEGIN[verb];
  const text = begin.exec(line);
  const cut =
    text === null ? undefined : cutPath(line.slice(text[0].length).replaceAll('\t', ' ').trimEnd(), mode.lenient);
  if (cut === undefined || (cut.rest !== '' && !/^\s/.test(cut.rest))) return undefined;
  const address = readAddress(verb, cut.path.replace(SOURCE_ROUTE, ''), mode);
  const parameters = readParameters(cut.rest, mode.lenient ? KNOWN[verb] : undefined);
  return address === undefined || parameters === undefined ? undefined : { address, ...parameters };
}

/** The first parameter that is not known for the verb. */
export function unknownParameter(verb: Verb, args: false | Readonly<Record<string, unknown>>): string | undefined {
  return args === false ? undefined : Object.keys(args).find((name) => !KNOWN[verb].has(name));
}

const STRICT_BEGIN: Readonly<Record<Verb, RegExp>> = { 'MAIL FROM': /^MAIL FROM:/i, 'RCPT TO': /^RCPT TO:/i };
const LENIENT_BEGIN: Readonly<Record<Verb, RegExp>> = {
  'MAIL FROM': /^\s*MAIL\s+FROM(?:\s*:\s*|\s+|(?=[<"]))/i,
  'RCPT TO': /^\s*RCPT\s+TO(?:\s*:\s*|\s+|(?=[<"]))/i,
};

function cutPath(text: string, lenient: boolean): { path: string; rest: string } | undefined {
  const open = lenient ? beginOfBrackets(text) : 0;
  if (text[open] !== '<') return lenient ? cutBare(text, 0) : undefined;
  const end = findOutsideQuotes(text, open + 1, '>');
  if (end < 0) return lenient ? cutBare(text, open + 1) : undefined;
  const path = text.slice(open + 1, end);
  const rest = text.slice(end + 1);
  if (!lenient) return { path, rest };
  const isDoubled = path.startsWith('<') && rest.startsWith('>');
  return isDoubled ? { path: path.slice(1), rest: rest.slice(1) } : { path: path.trim(), rest };
}

/** Up to a blank or the end of the line; a closing bracket may stand there. */
function cutBare(text: string, from: number): { path: string; rest: string } | undefined {
  const blank = findOutsideQuotes(text, from, ' ');
  const path = text.slice(from, blank < 0 ? text.length : blank).replace(/>$/, '');
  return path === '' ? undefined : { path, rest: blank < 0 ? '' : text.slice(blank) };
}

/** Of `"Scan Station" <scan@x>` and `Scan Station <scan@x>`; 0 if nothing of the kind stands there. */
function beginOfBrackets(text: string): number {
  const name = /^(?:"(?:[^"\\]|\\.)*"|[^<>"@:=]*)\s*(?=<)/.exec(text);
  return name === null ? 0 : name[0].length;
}

function findOutsideQuotes(text: string, from: number, wanted: string): number {
  let isQuoted = false;
  for (let at = from; at < text.length; at++) {
    const character = text[at];
    if (isQuoted && character === '\\') at++;
    else if (character === '"') isQuoted = !isQuoted;
    else if (!isQuoted && character === wanted) return at;
  }
  return -1;
}

function readAddress(verb: Verb, path: string, mode: PathMode): string | undefined {
  if (path === '') return verb === 'MAIL FROM' ? '' : undefined;
  if (UNSAFE.test(path)) return undefined;
  // RFC 5321 section 4.5.1: this one may come without a domain.
  const isComplete = mode.lenient || (verb === 'RCPT TO' && path.toLowerCase() === 'postmaster');
  const at = lastAt(path);
  if (at < 0 && !isComplete) return undefined;
  const local = readLocal(at < 0 ? path : path.slice(0, at), mode.lenient);
  const domain = at < 0 ? mode.completeDomain : readDomain(path.slice(at + 1), mode);
  if (local === undefined || domain === undefined) return undefined;
  const address = `${local}@${domain}`;
  return address.length > LONGEST ? undefined : address;
}

function lastAt(path: string): number {
  // Behind a quoted local part comes nothing but the domain.
  const quoted = /^"(?:[^"\\]|\\.)*"/.exec(path);
  return quoted === null ? path.lastIndexOf('@') : path.indexOf('@', quoted[0].length);
}

function readLocal(local: string, lenient: boolean): string | undefined {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(local)?.[1];
  if (quoted === undefined) return (lenient ? ODD_LOCAL : DOT_ATOM).test(local) ? local : undefined;
  const plain = quoted.replace(/\\(.)/g, '$1');
  return DOT_ATOM.test(plain) ? plain : `"${plain.replace(/["\\]/g, '\\$&')}"`;
}

function readDomain(written: string, { lenient, completeDomain }: PathMode): string | undefined {
  if (written.startsWith('[')) return isLiteral(written) ? written : undefined;
  const domain = lenient ? written.replace(/\.+$/, '') : written;
  if (domain === '') return lenient ? completeDomain : undefined;
  const label = lenient ? /^[\p{L}\p{M}\p{N}_-]{1,63}$/u : /^(?!-)[\p{L}\p{M}\p{N}-]{1,63}(?<!-)$/u;
  return domain.split('.').every((one) => label.test(one) && isDecodable(one)) ? domain : undefined;
}

/** An A-label that stands for no U-label (RFC 5890 section 2.3.2.1) is no part of a domain. */
function isDecodable(label: string): boolean {
  return !/^xn--/i.test(label) || !/^xn--/i.test(domainToUnicode(label));
}

/** RFC 5321 section 4.1.3. */
function isLiteral(text: string): boolean {
  const [, ipv6, ipv4 = ''] = /^\[(?:IPv6:([\da-f:.]+)|([\d.]+))\]$/i.exec(text) ?? [];
  return ipv6 === undefined ? isIPv4(ipv4) : isIPv6(ipv6);
}

/** @param known only these are looked at */
function readParameters(text: string, known?: ReadonlySet<string>): Omit<PathCommand, 'address'> | undefined {
  const args: Parameters = {};
  let duplicate: string | undefined;
  for (const parameter of text.split(/\s+/)) {
    const equals = parameter.indexOf('=');
    const name = (equals < 0 ? parameter : parameter.slice(0, equals)).toUpperCase();
    if (name === '') continue;
    // A piece of an address is no parameter to overlook.
    if (!KEYWORD.test(name)) return undefined;
    if (known !== undefined && !known.has(name)) continue;
    const value = equals < 0 ? '' : fromXtext(parameter.slice(equals + 1));
    if (CONTROL.test(value)) return undefined;
    if (Object.hasOwn(args, name)) duplicate = name;
    args[name] = value === '' ? true : value;
  }
  return {
    args: Object.keys(args).length === 0 ? false : args,
    ...(duplicate === undefined ? {} : { duplicate }),
  };
}

function fromXtext(value: string): string {
  return value.replace(/\+([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
