/** What MAIL and RCPT said, as an envelope. Pure; takes the parsed commands, xtext decoded already. */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Envelope, NotifyOn, Recipient } from '../mail/envelope.ts';

/** MAIL or RCPT with its parameters, names in upper case. */
export interface AddressCommand {
  readonly address: string;
  readonly args: false | Readonly<Record<string, string | true | undefined>>;
}

/** From the parameters of the MAIL that was accepted: one that was refused leaves nothing behind. */
export function envelopeOf(mail: AddressCommand | false, recipients: readonly AddressCommand[]): Envelope {
  const { address, args } = mail === false ? { address: '', args: false as const } : mail;
  const ret = parameter(args, 'RET')?.toUpperCase();
  const envelopeId = parameter(args, 'ENVID');
  return {
    reversePath: wireAddress(address) ?? address,
    recipients: recipients.map(recipientOf),
    ...(ret === undefined ? {} : { ret: ret === 'FULL' ? ('full' as const) : ('headers' as const) }),
    ...(envelopeId === undefined ? {} : { envelopeId }),
    ...(args !== false && args['SMTPUTF8'] === true ? { smtpUtf8: true } : {}),
  };
}

/** RFC 3848, RFC 6531 section 4.3. */
export function protocolOf(transmissionType: string, { smtpUtf8 }: Envelope): string {
  return smtpUtf8 === true ? transmissionType.replace(/^E?SMTP/, 'UTF8SMTP') : transmissionType;
}

const NOTIFY: ReadonlyMap<string, NotifyOn> = new Map([
  ['NEVER', 'never'],
  ['SUCCESS', 'success'],
  ['FAILURE', 'failure'],
  ['DELAY', 'delay'],
]);

function recipientOf({ address, args }: AddressCommand): Recipient {
  const notify = parameter(args, 'NOTIFY')
    ?.toUpperCase()
    .split(',')
    .map((word) => NOTIFY.get(word))
    .filter((word) => word !== undefined);
  const originalRecipient = parameter(args, 'ORCPT');
  return {
    address: wireAddress(address) ?? address,
    ...(notify === undefined ? {} : { notify }),
    ...(originalRecipient === undefined ? {} : { originalRecipient }),
  };
}

function parameter(args: AddressCommand['args'], name: string): string | undefined {
  const value = args === false ? undefined : args[name];
  return typeof value === 'string' ? value : undefined;
}

/**
 * The package decodes xn-- domains; on the wire they are ASCII.
 * @returns undefined for what is no address: octets that were not UTF-8, a domain that has no ASCII form
 */
export function wireAddress(address: string): string | undefined {
  if (address.includes('\ufffd')) return undefined;
  const at = address.lastIndexOf('@');
  const domain = address.slice(at + 1);
  // oxlint-disable-next-line no-control-regex -- all of ASCII
  if (at < 0 || /^[\x00-\x7f]*$/.test(domain)) return address;
  // The function follows the URL standard: it would map other dots and slashes, and read numbers as an IP address.
  if (!/^[\p{L}\p{M}\p{N}._-]+$/u.test(domain)) return undefined;
  const ascii = domainToASCII(domain);
  return ascii === '' || isIP(ascii) !== 0 ? undefined : `${address.slice(0, at)}@${ascii}`;
}
