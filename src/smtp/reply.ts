/** What the server says: reply code (RFC 5321), enhanced status code (RFC 3463, RFC 5248) and a sentence. */
import type { Refusal } from '../mail/event.ts';
import type { Reply } from '../mail/policy.ts';

/** A refusal on its way to the client. */
export class Refused extends Error {
  override readonly name = 'Refused';
  /** As smtp-server wants it. */
  readonly responseCode: number;
  readonly refusal: Refusal;
  /** For the log only. */
  readonly detail: string | undefined;

  constructor(refusal: Refusal, code: number, enhanced: string, sentence: string, more: { detail?: string } = {}) {
    super(`${enhanced} ${sentence}`);
    this.refusal = refusal;
    this.responseCode = code;
    this.detail = more.detail;
  }
}

/** What is told of a refusal. */
export interface Told {
  readonly refusal: Refusal;
  readonly reply: string;
  readonly detail?: string | undefined;
}

export const STARTTLS_FIRST = 'issue STARTTLS first';
export const LOG_IN = 'Log in first (AUTH)';
/** Where a password may not cross the network readable. */
export const LOG_IN_WITH_TLS = 'Log in first: STARTTLS, then AUTH';

/** The policy's answer on its way to the client. */
export function asRefused(reply: Reply | undefined): Refused | undefined {
  if (reply === undefined) return undefined;
  const { refusal, code, enhanced, text, detail } = reply;
  return new Refused(refusal, code, enhanced, text, detail === undefined ? {} : { detail });
}

export const ENHANCED = /^[245]\.\d{1,3}\.\d{1,3} /;

export const HELO_SYNTAX = 'EHLO and HELO want a domain or an address literal';

interface Own {
  /** The package's own sentence. */
  readonly says: RegExp;
  readonly refusal: Refusal;
  /** Enhanced status code where the package's is not precise. */
  readonly enhanced?: string;
  /** What the client is told where the package's words help nobody. */
  readonly sentence?: string;
}

/** The package's own refusals, by what they say: what they count as, and the code and the words that are right for them. */
const OWN_REPLIES: readonly Own[] = [
  { says: /Too many connected clients/, refusal: 'connections' },
  { says: /^too many recipients$/, refusal: 'recipients', enhanced: '4.5.3', sentence: 'Too many recipients' },
  {
    says: /^message exceeds fixed maximum message size /,
    refusal: 'size',
    enhanced: '5.3.4',
  },
  { says: /^Timeout - /, refusal: 'timeout', enhanced: '4.4.2', sentence: 'Silent for too long' },
  { says: /shutting down/, refusal: 'stopping', enhanced: '4.3.2' },
  { says: /^authentication Required$/, refusal: 'auth', enhanced: '5.7.0', sentence: LOG_IN },
  {
    says: /^too many unauthenticated commands$/,
    refusal: 'auth',
    enhanced: '4.7.0',
    sentence: 'Too many commands without a login',
  },
  {
    says: /^too many unrecognized commands$/,
    refusal: 'syntax',
    enhanced: '4.7.0',
    sentence: 'Too many unknown commands',
  },
  { says: /You talk too soon$/, refusal: 'syntax', enhanced: '4.7.0', sentence: 'Wait for the greeting' },
  {
    says: /^HTTP requests not allowed$/,
    refusal: 'syntax',
    enhanced: '4.7.0',
    sentence: 'This is a mail server, not a web server',
  },
  { says: /^Command line too long$/, refusal: 'syntax', enhanced: '4.5.2' },
  { says: /^command not recognized$/, refusal: 'syntax', sentence: 'Unknown command' },
  { says: /^send HELO\/EHLO first$/, refusal: 'syntax', sentence: 'EHLO or HELO first' },
  { says: /^(?:syntax: EHLO|Syntax: HELO) hostname$/, refusal: 'syntax', sentence: HELO_SYNTAX },
  { says: /^Bad hostname syntax$/, refusal: 'syntax', sentence: HELO_SYNTAX },
  { says: /^nested MAIL command$/, refusal: 'syntax', sentence: 'A message is begun already: RCPT TO, or RSET' },
  { says: /^need MAIL command$/, refusal: 'syntax', sentence: 'MAIL FROM first' },
  { says: /^need RCPT command$/, refusal: 'syntax', sentence: 'RCPT TO first: nobody was accepted as a recipient' },
  { says: /^Bad sender address syntax$/, refusal: 'syntax', sentence: 'Cannot read it: MAIL FROM:<address>' },
  { says: /^Bad recipient address syntax$/, refusal: 'syntax', sentence: 'Cannot read it: RCPT TO:<address>' },
  { says: /^syntax: STARTTLS$/, refusal: 'syntax', sentence: 'STARTTLS takes no parameter' },
  { says: /^No identity changes permitted$/, refusal: 'syntax', sentence: 'Logged in already' },
  { says: /^Unrecognized authentication type$/, refusal: 'syntax', sentence: 'AUTH PLAIN or AUTH LOGIN' },
];

export interface Reading {
  readonly refusal: Refusal;
  readonly enhanced?: string;
  /** Without the `Error: ` in front. */
  readonly sentence: string;
}

/** What one of the package's own refusals means. */
export function readOwn(sentence: string): Reading {
  const bare = sentence.replace(/^Error: /, '');
  const { refusal = 'syntax', enhanced, sentence: ours = bare } = OWN_REPLIES.find(({ says }) => says.test(bare)) ?? {};
  return { refusal, sentence: ours, ...(enhanced === undefined ? {} : { enhanced }) };
}

export function stopping(hostname: string): string {
  return `4.3.2 ${hostname} is shutting down, try again`;
}

/** A refusal in its final words. */
export interface Spoken {
  readonly refusal: Refusal;
  readonly text: string;
}

/**
 * One of the package's own refusals, made precise.
 * @param codes enhanced codes to choose from, the best first; undefined: none is to be said yet. The package takes the
 * client's own words for a context: then a code may be of another class than the reply.
 */
export function preciseReply(data: string, codes: readonly string[] | undefined, code: number): Spoken {
  const { refusal, sentence, enhanced } = readOwn(data);
  if (ENHANCED.test(data)) return { refusal, text: data };
  if (codes === undefined) return { refusal, text: sentence };
  const own = codes.find((one) => one.startsWith(`${Math.floor(code / 100)}.`)) ?? codes.at(-1);
  return { refusal, text: `${enhanced ?? own} ${sentence}` };
}
