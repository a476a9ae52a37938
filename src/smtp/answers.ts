/**
 * What an SMTP server's answer means for a message: a table of rows, the first that fits wins, then what the reply's
 * class says (RFC 5321 section 4.2.1). Enhanced codes by RFC 3463, texts by Exchange Online's own documentation
 * (https://learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online,
 * https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission).
 * Pure; never fails. The words of a server go to the operator, and to the sender only with a refusal for good.
 */
import type {
  Delayed,
  DeliveryStatus,
  EnhancedCode,
  Failed,
  PermanentCode,
  Reach,
  TransientCode,
  Unknown,
} from '../mail/status.ts';
import { MISCONFIGURED, unreachable } from '../mail/status.ts';
import { cutShort } from '../mail/stored.ts';
import { offeredInWords } from '../tls/offered.ts';
import type { SmtpStep, SmtpTrouble } from './client.ts';

export interface Reply {
  readonly code: number;
  /** RFC 2034; absent: the server has none. */
  readonly enhanced?: EnhancedCode;
  /** Without the codes, one line. */
  readonly text: string;
}

/** login: what a wrong login concerns, which is one mailbox where each logs in as itself. */
type Extent = Reach | 'login';

type Meaning =
  | {
      readonly outcome: 'delayed';
      readonly code: TransientCode;
      readonly reach: Extent;
      readonly text: string;
      readonly reason: string;
      readonly retryAfter?: number;
      readonly throttled?: boolean;
      readonly capped?: boolean;
    }
  | { readonly outcome: 'failed'; readonly code: PermanentCode; readonly text: string; readonly reason: string };

export interface Row {
  readonly steps?: readonly SmtpStep[];
  readonly codes?: readonly number[];
  readonly enhanced?: readonly string[];
  readonly text?: RegExp;
  readonly means: Meaning;
}

const MINUTE = 60_000;
const MAILBOX_PROBE = 5 * MINUTE;
const QUOTA_WAIT = 30 * MINUTE;
const AT_ONCE = 1_000;
const LONGEST = 500;

const LATER = 'The mail server is temporarily unable to take the message';
const OURS = 'The mail gateway cannot pass messages on at the moment; its operator has been told';

type DelayOptions = Partial<Pick<Delayed, 'retryAfter' | 'throttled' | 'capped'>>;

function delayed(code: TransientCode, reach: Extent, reason: string, options: DelayOptions = {}): Meaning {
  return { outcome: 'delayed', code, reach, text: LATER, reason, ...options };
}
function misconfigured(reach: Extent, reason: string): Meaning {
  return { outcome: 'delayed', code: MISCONFIGURED, reach, text: OURS, reason };
}
function failed(code: PermanentCode, text: string, reason: string): Meaning {
  return { outcome: 'failed', code, text, reason };
}

const USED_UP = delayed('4.7.1', 'mailbox', 'The sending mailbox has used up what it may send for now', {
  retryAfter: QUOTA_WAIT,
});

const ENVELOPE: readonly SmtpStep[] = ['mail', 'recipient'];

export const ROWS: readonly Row[] = [
  // --- login ---------------------------------------------------------------------------------------------------------
  {
    text: /SmtpClientAuthentication is disabled for the Tenant/i,
    means: misconfigured(
      'transport',
      'SMTP AUTH is switched off for the organisation: Set-TransportConfig -SmtpClientAuthenticationDisabled $false, or for this mailbox alone: Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled $false (https://aka.ms/smtp_auth_disabled). Changes take up to an hour',
    ),
  },
  {
    text: /SmtpClientAuthentication is disabled|smtp_auth_disabled/i,
    means: misconfigured(
      'login',
      'SMTP AUTH is switched off for this mailbox: Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled $false (https://aka.ms/smtp_auth_disabled). Changes take up to an hour',
    ),
  },
  {
    steps: ['login'],
    text: /security defaults/i,
    means: misconfigured(
      'transport',
      'Security defaults of the tenant forbid SMTP AUTH with a password; use login: oauth, or exempt the account',
    ),
  },
  {
    steps: ['login'],
    text: /basic authentication is disabled/i,
    means: misconfigured(
      'transport',
      'The server takes no password any more (basic authentication is disabled); set smtp.login: oauth',
    ),
  },
  {
    steps: ['login'],
    text: /locked/i,
    means: misconfigured('login', 'The account is locked; see its sign-in log, and unlock it'),
  },
  {
    steps: ['login'],
    codes: [535],
    means: misconfigured(
      'login',
      'The login was refused. With login: oauth, check in this order: the app has the application permission SMTP.SendAsApp of Office 365 Exchange Online with admin consent (or the RBAC role "Application SMTP.SendAsApp"); its service principal exists in Exchange (New-ServicePrincipal with the object id of the enterprise application) and has FullAccess on the sending mailbox (Add-MailboxPermission); the mailbox exists and SMTP AUTH is not disabled for it (Set-CASMailbox -SmtpClientAuthenticationDisabled $false). With login: password, check username and password',
    ),
  },
  {
    steps: ['login'],
    codes: [534, 538],
    means: misconfigured(
      'transport',
      'The server wants TLS or another way to log in; check its smtp section: tls, login',
    ),
  },
  {
    steps: ['login'],
    codes: [500, 501, 502, 503, 504],
    means: misconfigured(
      'transport',
      'The server does not know this way to log in; check login, or username, in its smtp section',
    ),
  },
  {
    steps: ['login'],
    codes: [454],
    means: delayed('4.7.0', 'transport', "The server's own login service is in trouble"),
  },
  {
    enhanced: ['5.7.57'],
    means: misconfigured(
      'transport',
      'The server takes mail only after a login (5.7.57: client not authenticated); set smtp.login to oauth or password (of a pickup: deliver.smtp.username), or use the address of a connector that knows this gateway',
    ),
  },
  {
    codes: [530],
    text: /STARTTLS/i,
    means: misconfigured('transport', 'The server wants STARTTLS first; set smtp.tls: required'),
  },
  {
    codes: [530],
    means: misconfigured(
      'transport',
      'The server wants a login first; set smtp.login (of a pickup: deliver.smtp.username and password)',
    ),
  },

  // --- who may send --------------------------------------------------------------------------------------------------
  {
    text: /SendAsDenied|permissions? to send as this sender/i,
    means: failed(
      '5.7.60',
      'The sending mailbox may not use this sender address',
      'SendAsDenied: the mailbox that logs in may use neither the address in MAIL FROM nor that in From. Give it Send As on them (Add-RecipientPermission <address> -Trustee <mailbox> -AccessRights SendAs), or rewrite the From with a rule under senders; over SMTP the envelope sender is that of the client',
    ),
  },
  {
    enhanced: ['5.7.60', '5.2.252'],
    means: failed(
      '5.7.60',
      'The sending mailbox may not use this sender address',
      'The mailbox that logs in may not send as the address in MAIL FROM or From; give it Send As on them, or rewrite the From with a rule under senders',
    ),
  },
  {
    enhanced: ['5.1.8'],
    text: /OutboundSpam|bad outbound sender|restrict|blocked/i,
    means: delayed(
      '4.7.1',
      'mailbox',
      'Exchange has blocked the sending mailbox from sending; see Restricted entities in the Defender portal',
      { retryAfter: QUOTA_WAIT },
    ),
  },
  {
    enhanced: ['5.1.90'],
    text: /quota|limit|exceeded/i,
    steps: ['mail', 'end'],
    means: USED_UP,
  },
  {
    // Also said of a recipient whose mailbox is full (RFC 3463 section 3.3).
    enhanced: ['5.2.2'],
    text: /submission|(?:send|message|recipient)\w* (?:rate |sending )?(?:limit|quota)/i,
    steps: ['mail', 'end'],
    means: USED_UP,
  },
  {
    text: /SubmissionQuotaExceeded|recipient rate limit|message rate limit|exceeded .{0,40}sending limit/i,
    means: delayed(
      '4.7.1',
      'mailbox',
      'The sending mailbox has used up what it may send (10,000 recipients a day in Exchange Online); spread the mail over more mailboxes',
      { retryAfter: QUOTA_WAIT },
    ),
  },
  {
    enhanced: ['5.7.705', '5.7.708', '5.7.750', '5.7.64'],
    means: misconfigured(
      'transport',
      'Exchange takes no mail from this organisation or this address at the moment (its sending limits, its age, an unknown domain, or a connector that does not match); see the text of its answer',
    ),
  },

  // --- too fast ------------------------------------------------------------------------------------------------------
  {
    codes: [432],
    means: delayed(
      '4.3.2',
      'mailbox',
      'Too many at the same time for this mailbox (Exchange Online allows 3 connections); lower pacing.perMailbox.concurrency',
      { throttled: true },
    ),
  },
  {
    steps: ['connect', 'greeting', 'tls'],
    codes: [421, 450, 451, 452, 454],
    means: delayed('4.4.1', 'transport', 'The server takes no sessions at the moment'),
  },
  {
    codes: [421, 450, 451, 452],
    text: /throttl|concurrent connections|too many (?:connections|messages)|thread limit|server busy|rate limit|submission rate|exceeded the maximum/i,
    means: delayed('4.7.0', 'mailbox', 'The server wants less at a time; the gateway waits and sends less', {
      throttled: true,
    }),
  },
  {
    codes: [451],
    enhanced: ['4.7.0', '4.7.500'],
    means: delayed('4.7.0', 'mailbox', 'The server puts this gateway off; it waits and sends less', {
      throttled: true,
    }),
  },
  { codes: [421], means: delayed('4.3.2', 'transport', 'The server is ending the session') },

  // --- size ----------------------------------------------------------------------------------------------------------
  {
    // Before what is said of size: at RCPT, 552 means too many recipients (RFC 5321 section 4.5.3.1.10).
    steps: ['recipient'],
    codes: [452, 552],
    means: delayed('4.5.3', 'message', 'Too many recipients for one transaction; these go in the next', {
      retryAfter: AT_ONCE,
    }),
  },
  {
    enhanced: ['5.3.4', '5.2.3'],
    means: failed(
      '5.3.4',
      'The message is too large for the mail server',
      'The message is over the size limit of the server; lower the accepted message size (maxMessageSize), or raise the limit there',
    ),
  },
  {
    codes: [552],
    means: failed(
      '5.3.4',
      'The message is too large for the mail server',
      'The message is over the size limit of the server, or its storage is full',
    ),
  },

  // --- recipients ----------------------------------------------------------------------------------------------------
  {
    steps: ['recipient'],
    enhanced: ['5.7.54'],
    means: {
      outcome: 'delayed',
      code: MISCONFIGURED,
      reach: 'message',
      capped: true,
      text: OURS,
      reason:
        'The server does not relay to this domain for us; check its smtp section (host, login), or the connector there',
    },
  },
  {
    steps: ['recipient'],
    text: /relay(?:ing)? (?:access )?(?:denied|not permitted|not allowed|prohibited)|unable to relay|not permitted to relay/i,
    means: {
      outcome: 'delayed',
      code: MISCONFIGURED,
      reach: 'message',
      capped: true,
      text: OURS,
      reason:
        'The server does not relay to this domain for us; check its smtp section (host, login), or the connector there',
    },
  },

  // --- Exchange's store ----------------------------------------------------------------------------------------------
  {
    enhanced: ['5.2.0'],
    text: /transient|Temporary|StorageTransient|MapiExceptionRpcServerTooBusy/i,
    means: delayed('4.2.0', 'message', 'Exchange failed with this message, for a passing reason by its own words', {
      capped: true,
    }),
  },

  // --- the dialogue --------------------------------------------------------------------------------------------------
  {
    steps: ['connect', 'greeting'],
    means: misconfigured(
      'transport',
      'The server refuses this gateway before anything was said: its address may be blocked or not allowed there, or smtp.host and port are those of something else',
    ),
  },
  {
    steps: ['tls'],
    means: misconfigured(
      'transport',
      'The server does not offer STARTTLS, or something in between takes it out. Nothing is sent in clear: use a port that offers it (587), tls: implicit (465), or tls: none if the way is safe',
    ),
  },
  {
    steps: [...ENVELOPE, 'data'],
    codes: [500, 502, 503, 504],
    means: delayed('4.5.0', 'message', 'The server does not understand what this gateway said', { capped: true }),
  },
];

/** Trouble without a word of the server. */
const CERTIFICATE = /CERT|UNABLE_TO_|ALTNAME/;
const TLS_ALERT = /^(?:ERR_SSL|ERR_TLS|EPROTO|ETLS)/;

/** @returns undefined for what is no reply */
export function readReply(words: string): Reply | undefined {
  const lines = words.split(/\r?\n/).filter((line) => line.trim() !== '');
  const code = /^(\d{3})(?:[ -]|$)/.exec(lines.at(-1) ?? '')?.[1];
  if (code === undefined) return undefined;
  const texts = lines.map((line) => line.replace(/^\d{3}(?:[ -]|$)/, ''));
  const enhanced = /^([245]\.\d{1,3}\.\d{1,3})(?: |$)/.exec(texts[0] ?? '')?.[1];
  const text = printable(texts.map((line) => line.replace(/^[245]\.\d{1,3}\.\d{1,3}(?: |$)/, '')).join(' '));
  const fits = enhanced !== undefined && enhanced[0] === code[0];
  return { code: Number(code), text, ...(fits ? { enhanced: enhanced as EnhancedCode } : {}) };
}

/** One line, bounded, without what could be anything but words: a server's text goes into logs and bounces. */
function printable(text: string): string {
  const line = text.replace(/[\p{C}\s]+/gu, ' ').trim();
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}...` : line;
}

export interface Circumstances {
  readonly host: string;
  readonly port: number;
  /** What a refused login concerns. */
  readonly login: 'mailbox' | 'transport';
}

/** Of a refusal, which is a reply that does not begin with 2 or 3. */
export function meaningOfReply(words: string, step: SmtpStep, circumstances: Circumstances): Delayed | Failed {
  const reply = readReply(words);
  if (reply === undefined) {
    const reason = `${at(circumstances)} answered something that is not SMTP: ${printable(words)}`;
    return { outcome: 'delayed', code: '4.5.0', reach: 'message', capped: true, cause: 'no SMTP', text: LATER, reason };
  }
  const row = ROWS.find((one) => fits(one, reply, step));
  const meaning = row?.means ?? byClass(reply, step);
  const said = [reply.code, reply.enhanced, reply.text].filter((part) => part !== undefined).join(' ');
  const reason = `${meaning.reason}\n${at(circumstances)} said to ${COMMANDS[step]}: ${said}`;
  const cause = `SMTP ${reply.code}${reply.enhanced === undefined ? '' : ` ${reply.enhanced}`}`;
  switch (meaning.outcome) {
    case 'failed':
      return { ...meaning, cause, reason, text: `${meaning.text}. It said: ${said}` };
    case 'delayed': {
      const reach = meaning.reach === 'login' ? circumstances.login : meaning.reach;
      const wait = meaning.code === MISCONFIGURED && reach === 'mailbox' ? { retryAfter: MAILBOX_PROBE } : {};
      return { ...meaning, ...wait, reach, cause, reason };
    }
    default:
      return unreachable(meaning);
  }
}

function fits({ steps, codes, enhanced, text }: Row, reply: Reply, step: SmtpStep): boolean {
  return (
    (steps === undefined || steps.includes(step)) &&
    (codes === undefined || codes.includes(reply.code)) &&
    (enhanced === undefined || (reply.enhanced !== undefined && enhanced.includes(reply.enhanced))) &&
    (text === undefined || text.test(reply.text))
  );
}

/** What no row names. */
function byClass({ code, enhanced }: Reply, step: SmtpStep): Meaning {
  if (code >= 500 && code < 600) {
    // What is refused before a message is named is no fault of any message.
    if (step === 'login') return misconfigured('login', 'The login was refused');
    const own = enhanced?.startsWith('5') === true ? (enhanced as PermanentCode) : undefined;
    if (step === 'recipient')
      return failed(
        own ?? '5.1.0',
        'The mail server refuses the recipient',
        'The server refuses the recipient for good',
      );
    if (step === 'mail')
      return failed(own ?? '5.1.0', 'The mail server refuses the sender', 'The server refuses the envelope sender');
    return failed(own ?? '5.0.0', 'The mail server refuses the message', 'The server refuses the message for good');
  }
  if (code >= 400 && code < 500) {
    const own = enhanced?.startsWith('4') === true ? (enhanced as TransientCode) : undefined;
    return delayed(own ?? '4.0.0', step === 'login' ? 'login' : 'message', 'The server calls its refusal temporary');
  }
  return delayed('4.5.0', 'message', 'The server gave an answer that does not fit', { capped: true });
}

const COMMANDS: Readonly<Record<SmtpStep, string>> = {
  connect: 'the connection',
  greeting: 'the connection',
  tls: 'STARTTLS',
  login: 'AUTH',
  mail: 'MAIL FROM',
  recipient: 'RCPT TO',
  data: 'DATA',
  body: 'the message',
  end: 'the message',
};

const SILENT: Unknown = {
  outcome: 'unknown',
  code: '4.4.2',
  cause: 'ECONNRESET',
  text: 'The mail server did not say whether it took the message',
};

/** Of what ended a session, with or without words. */
export function meaningOfTrouble(
  { step, reply, code, certificate }: SmtpTrouble,
  circumstances: Circumstances,
): Exclude<DeliveryStatus, { outcome: 'relayed' }> {
  if (reply !== undefined && readReply(reply) !== undefined) return meaningOfReply(reply, step, circumstances);
  const where = at(circumstances);
  if (step === 'end') {
    const reason = `${where} had all of the message and gave no answer (${code}); it may have been sent. SMTP has no way to look, so it is sent once more at most`;
    return { ...SILENT, cause: code, reason };
  }
  if (code === 'ABORTED') return aborted();
  if (code === 'TOO_LARGE') {
    const text = 'The message is too large for the mail server';
    return { outcome: 'failed', code: '5.3.4', cause: code, text, reason: `${where} announces a lower limit (SIZE)` };
  }
  const [isOurs, what] = silence(step, code, where, offeredInWords(certificate));
  const isOfMessage = step === 'body' || code === 'ANSWERED_EARLY';
  return {
    outcome: 'delayed',
    code: isOurs ? MISCONFIGURED : step === 'connect' ? '4.4.1' : '4.4.2',
    // A server that cuts off what it does not like holds up nobody else.
    reach: isOfMessage ? 'message' : 'transport',
    cause: code,
    text: isOurs ? OURS : 'The mail server cannot be reached at the moment',
    reason: what,
  };
}

function silence(step: SmtpStep, code: string, where: string, offered: string): readonly [boolean, string] {
  if (code === 'NO_XOAUTH2')
    return [
      true,
      `${where} offers no login with XOAUTH2; check its smtp section: host, port, tls, or set login: password`,
    ];
  if (code === 'NO_LOGIN')
    return [
      true,
      `${where} offers no login with a password (PLAIN, LOGIN); check its smtp section: host, port, tls, login`,
    ];
  if (CERTIFICATE.test(code))
    return [
      true,
      `the certificate of ${where} is not trusted (${code})${offered}; if it is right (an own server, a company's proxy), set caFile (exchange.caFile; of a pickup, deliver.smtp.caFile) to the certificate of its authority in PEM, and smtp.host to the name it was made for. Show it: openssl s_client -starttls smtp -connect ${where} -showcerts`,
    ];
  if (TLS_ALERT.test(code))
    return [
      true,
      `TLS with ${where} failed (${code}); check its smtp section: tls: required is for STARTTLS (port 587), implicit for port 465, and minTls for servers of old`,
    ];
  switch (code) {
    case 'ENOTFOUND':
      return [false, `the name of ${where} is not known to DNS (ENOTFOUND); check smtp.host and this machine's DNS`];
    case 'EAI_AGAIN':
      return [false, `DNS did not answer for ${where} (EAI_AGAIN); check this machine's DNS servers`];
    case 'ECONNREFUSED':
      return [false, `${where} refused the connection (ECONNREFUSED); nothing listens there, or a firewall refuses it`];
    case 'ETIMEDOUT':
      return [false, `${where} gave no answer in time to ${COMMANDS[step]} (ETIMEDOUT); a firewall may drop it`];
    case 'ANSWERED_EARLY':
      return [false, `${where} answered before it had the message; what it did with it cannot be relied on`];
    default:
      return [false, `the connection with ${where} was lost at ${COMMANDS[step]} (${code})`];
  }
}

export function aborted(): Delayed {
  return cutShort('Given up before the message was sent whole');
}

function at({ host, port }: Circumstances): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
