/** What the server says: reply code (RFC 5321), enhanced status code (RFC 3463, RFC 5248) and a sentence. */
import type { Refusal } from '../mail/event.ts';

/** A refusal on its way to the client. */
export class Refused extends Error {
  override readonly name = 'Refused';
  /** As smtp-server wants it. */
  readonly responseCode: number;
  readonly refusal: Refusal;
  /** For the log only. */
  readonly detail: string | undefined;
  /** The connection is closed after the reply. */
  readonly closes: boolean;

  constructor(
    refusal: Refusal,
    code: number,
    enhanced: string,
    sentence: string,
    more: { detail?: string; closes?: boolean } = {},
  ) {
    super(`${enhanced} ${sentence}`);
    this.refusal = refusal;
    this.responseCode = code;
    this.detail = more.detail;
    this.closes = more.closes ?? false;
  }
}

export const ENHANCED = /^[245]\.\d{1,3}\.\d{1,3} /;

interface Own {
  /** Beginning of the package's own sentence. */
  readonly says: RegExp;
  readonly refusal: Refusal;
  /** Enhanced status code where the package's is not precise; '' for none, before EHLO. */
  readonly enhanced?: string;
}

/** The package's own refusals, by what they say: what they count as, and the code that is right for them. */
export const OWN_REPLIES: readonly Own[] = [
  { says: /Too many connected clients/, refusal: 'connections' },
  { says: /too many recipients/i, refusal: 'recipients', enhanced: '4.5.3' },
  { says: /exceeds fixed maximum message size/i, refusal: 'size', enhanced: '5.3.4' },
  { says: /^Timeout/, refusal: 'timeout', enhanced: '4.4.2' },
  { says: /shutting down/, refusal: 'stopping', enhanced: '4.3.2' },
  { says: /authentication required/i, refusal: 'auth', enhanced: '5.7.0' },
  { says: /STARTTLS/, refusal: 'tls', enhanced: '5.7.0' },
  { says: /Invalid username or password/i, refusal: 'auth', enhanced: '5.7.8' },
];

export function stopping(hostname: string): string {
  return `4.3.2 ${hostname} is shutting down, try again`;
}
