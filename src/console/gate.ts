/**
 * Who may ask the console at all, before any login counts: by a name it is known by (a web site of a stranger that leads
 * its own name to this address is refused: DNS rebinding), and, for what changes something, from a page of its own (CSRF).
 * Pure; never fails.
 */
import { isIP } from 'node:net';
import type { Asked } from './answer.ts';

/** @param names those it may be reached by beside addresses and localhost, lower case */
export function isKnownHost(host: string | undefined, names: ReadonlySet<string>): boolean {
  const name = nameOf(host);
  // Whoever asks by an address has not been led here by a name.
  return name !== undefined && (name === 'localhost' || isIP(name) !== 0 || names.has(name));
}

/**
 * A browser says where a form was sent from; a program does not, and nothing of a browser's rides along with it.
 * @param names as above: behind a reverse proxy, the page has another name than the request
 */
export function isFromOwnPage({ headers }: Asked, names: ReadonlySet<string>): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin') return false;
  const { origin } = headers;
  if (origin === undefined) return true;
  const [, host] = /^https?:\/\/([^/]+)$/i.exec(origin) ?? [];
  if (host === undefined) return false;
  return host.toLowerCase() === headers.host?.toLowerCase() || names.has(nameOf(host) ?? '');
}

/**
 * A page of somebody else leads here: what is written down as a look of the operator's must be his own. Behind another
 * port of this machine is somebody else too, and there the cookie comes along.
 */
export function isLedByOthers({ headers }: Asked): boolean {
  const site = headers['sec-fetch-site'];
  return site !== undefined && site !== 'same-origin' && site !== 'none';
}

/** Without port and brackets, lower case. */
function nameOf(host: string | undefined): string | undefined {
  const [, bracketed, plain] = /^(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i.exec(host ?? '') ?? [];
  return (bracketed ?? plain)?.toLowerCase().replace(/\.$/, '');
}

/** Of ours, to go to after a form: nothing that a browser could take for another site. */
export function ownPath(given: string | null | undefined, otherwise: string): string {
  return given != null && given.length <= 2_000 && /^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(given) ? given : otherwise;
}
