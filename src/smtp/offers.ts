/**
 * What a server offers in its answer to EHLO (RFC 5321 section 4.1.1.1), and the parameters of MAIL and RCPT that follow
 * from it: DSN (RFC 3461) and SMTPUTF8 (RFC 6531); SIZE and BODY are nodemailer's. Pure; what cannot be written is left
 * out.
 */
import type { Envelope, Recipient } from '../mail/envelope.ts';

export interface Offers {
  readonly dsn: boolean;
  readonly smtpUtf8: boolean;
  readonly eightBit: boolean;
  /** Octets; undefined: not said. */
  readonly size?: number;
  /** SASL mechanisms, upper case. */
  readonly logins: readonly string[];
}

/** @param reply to EHLO, all lines; to HELO: nothing is offered */
export function offeredBy(reply: string): Offers {
  const lines = reply
    .split(/\r?\n/)
    .slice(1)
    .map((line) => line.replace(/^\d{3}[ -]/, '').trim());
  const words = new Map(lines.map((line) => [line.split(/[ =]/, 1)[0]?.toUpperCase() ?? '', line]));
  const size = /^SIZE +(\d{1,15})$/i.exec(words.get('SIZE') ?? '')?.[1];
  return {
    dsn: words.has('DSN'),
    smtpUtf8: words.has('SMTPUTF8'),
    eightBit: words.has('8BITMIME'),
    ...(size === undefined || Number(size) === 0 ? {} : { size: Number(size) }),
    // Two lines of it are usual, one of them with = for clients of long ago.
    logins: lines
      .filter((line) => /^AUTH[ =]/i.test(line))
      .flatMap((line) =>
        line
          .slice(5)
          .toUpperCase()
          .split(/[\s=]+/),
      )
      .filter((word) => word !== ''),
  };
}

/** With a blank before each. */
export function mailParameters({ ret, envelopeId }: Envelope, isUtf8: boolean, offers: Offers): string {
  return written([
    isUtf8 && offers.smtpUtf8 ? 'SMTPUTF8' : undefined,
    offers.dsn && ret !== undefined ? `RET=${ret === 'full' ? 'FULL' : 'HDRS'}` : undefined,
    offers.dsn ? withXtext('ENVID', envelopeId, 100) : undefined,
  ]);
}

export function recipientParameters({ notify = [], originalRecipient }: Recipient, { dsn }: Offers): string {
  if (!dsn) return '';
  // NEVER stands alone (RFC 3461 section 4.1).
  const words = notify.includes('never') ? ['never'] : notify;
  return written([
    words.length === 0 ? undefined : `NOTIFY=${words.join(',').toUpperCase()}`,
    withXtext('ORCPT', originalRecipient, 500),
  ]);
}

function written(parameters: readonly (string | undefined)[]): string {
  return parameters
    .filter((one) => one !== undefined)
    .map((one) => ` ${one}`)
    .join('');
}

/**
 * xtext of RFC 3461 section 4. What is not ASCII cannot be written so, and what is too long (section 5.4) not at all.
 * The address type of ORCPT and its semicolon stay readable.
 */
function withXtext(name: string, value: string | undefined, longest: number): string | undefined {
  if (value === undefined || value === '' || !/^[\x20-\x7e]*$/.test(value)) return undefined;
  const encoded = value.replace(
    /[ +=]/g,
    (character) => `+${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
  return encoded.length > longest ? undefined : `${name}=${encoded}`;
}
