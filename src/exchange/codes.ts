/**
 * What each answer of EWS means for a message being sent, as data: ResponseCode and HTTP status to an outcome. What is
 * not listed is temporary with a capped number of tries. Pure; never fails.
 *
 * Three decisions behind the rows:
 * - A fault of our own configuration is 4.3.5 and never bounces mail. It reaches the transport only where it can concern
 *   nothing smaller; where it may be about one mailbox (its licence, a permission, a typo in its name) it holds that
 *   mailbox alone, so that one wrong rule never stops the mail of the others. If all are affected, each waits.
 * - A denied From (ErrorSendAsDenied) is the message's own trouble and fails, because the sender chose the From.
 * - A request the server finds malformed (ErrorSchemaValidation) is a bug of ours: 4.3.5 with capped tries, so the
 *   message is kept and parked instead of returned.
 *
 * Sources: learn.microsoft.com/exchange/client-developer/web-service-reference/responsecode (codes),
 * .../exchange-web-services/ews-throttling-in-exchange (back-off), RFC 3463 (enhanced codes).
 */
import { MISCONFIGURED } from '../mail/status.ts';
import type { PermanentCode, Reach, TransientCode } from '../mail/status.ts';
import { EWS_CLOSED } from './advice.ts';

interface Words {
  /** Sentence that may reach the sender. */
  readonly text: string;
  /** What the operator should know or do; `<mailbox>` and `<client id>` stand for those of the request. */
  readonly reason: string;
}

export type Meaning =
  | ({
      readonly outcome: 'delayed';
      readonly code: TransientCode;
      readonly reach: Reach;
      /** Milliseconds to wait unless the server names a time; absent: the queue's own schedule. */
      readonly retryAfter?: number;
      readonly throttled?: boolean;
      readonly capped?: boolean;
      readonly ofAccount?: true;
    } & Words)
  | ({ readonly outcome: 'failed'; readonly code: PermanentCode } & Words)
  /** The mail may have been sent. Only for an answer to a request that sends. */
  | ({ readonly outcome: 'unknown'; readonly code: TransientCode } & Words);

export type Row<Key> = readonly [keys: readonly Key[], meaning: Meaning];

const MINUTE = 60_000;
/** A mailbox the operator has to see to is asked again at this pace. */
const MAILBOX_PROBE = 5 * MINUTE;
/** Quotas count over hours; asking more often only costs. */
export const QUOTA_WAIT = 30 * MINUTE;

const LATER = 'The mail server is temporarily unable to take the message';
const OURS = 'The mail gateway cannot pass messages on at the moment; its operator has been told';

type DelayOptions = Partial<Pick<Extract<Meaning, { outcome: 'delayed' }>, 'retryAfter' | 'throttled' | 'capped'>>;

export function delayed(code: TransientCode, reach: Reach, reason: string, options: DelayOptions = {}): Meaning {
  return { outcome: 'delayed', code, reach, text: LATER, reason, ...options };
}
export function misconfigured(reach: 'mailbox' | 'transport', reason: string): Meaning {
  const wait = reach === 'mailbox' ? { retryAfter: MAILBOX_PROBE } : {};
  return { outcome: 'delayed', code: MISCONFIGURED, reach, text: OURS, reason, ...wait };
}
/** The login that all mailboxes share is refused. */
export function loginRefused(reason: string): Meaning {
  return { outcome: 'delayed', code: MISCONFIGURED, reach: 'transport', ofAccount: true, text: OURS, reason };
}
export function failed(code: PermanentCode, text: string, reason: string): Meaning {
  return { outcome: 'failed', code, text, reason };
}

export const BUG: Meaning = {
  outcome: 'delayed',
  code: MISCONFIGURED,
  reach: 'message',
  capped: true,
  text: OURS,
  reason:
    'Exchange found the request malformed: an error of this gateway with this one message. It is kept; please report it with the request id',
};

export const TOO_LARGE = failed(
  '5.3.4',
  'The message is too large for the mail server',
  'The message is over a size limit of Exchange. Base64 makes an attachment about 1.8 times as large on its way; lower the accepted message size, or raise the limit (Set-Mailbox -MaxSendSize, Set-TransportConfig -MaxSendSize)',
);

export const RESPONSE_CODES: readonly Row<string>[] = [
  // --- temporary ---------------------------------------------------------------------------------------------------
  [
    ['ErrorServerBusy'],
    delayed('4.3.2', 'mailbox', 'Exchange throttles this mailbox; the gateway waits and sends less at a time', {
      throttled: true,
    }),
  ],
  [
    ['ErrorExceededConnectionCount', 'ErrorExceededSubscriptionCount', 'ErrorExceededFindCountLimit'],
    delayed('4.3.2', 'mailbox', 'Too many requests at the same time for this mailbox; lower pacing.perMailbox', {
      throttled: true,
    }),
  ],
  [
    [
      'ErrorConnectionFailed',
      'ErrorMailboxStoreUnavailable',
      'ErrorMailboxMoveInProgress',
      'ErrorMailboxFailover',
      'ErrorTooManyObjectsOpened',
      'ErrorNoRespondingCASInDestinationSite',
      'ErrorNoApplicableProxyCASServersAvailable',
      'ErrorProxyRequestProcessingFailed',
    ],
    delayed('4.2.1', 'mailbox', 'The server that holds the sending mailbox cannot be reached inside Exchange'),
  ],
  [
    [
      'ErrorInsufficientResources',
      'ErrorNotEnoughMemory',
      'ErrorADUnavailable',
      'ErrorADOperation',
      'ErrorServiceUnavailable',
    ],
    delayed('4.3.0', 'mailbox', 'Exchange is in trouble by its own account'),
  ],
  [
    [
      'ErrorInternalServerTransientError',
      'ErrorBatchProcessingStopped',
      'ErrorClientDisconnected',
      'ErrorMessageTrackingTransientError',
    ],
    delayed('4.3.0', 'message', 'Exchange calls its error temporary'),
  ],
  [
    ['ErrorInternalServerError'],
    delayed('4.3.0', 'message', 'Exchange failed with this message and does not say why', { capped: true }),
  ],
  [
    ['ErrorTimeoutExpired'],
    {
      outcome: 'unknown',
      code: '4.4.7',
      text: 'The mail server did not say in time whether it took the message',
      reason:
        'Exchange gave up waiting for itself; the message may have been sent. The gateway looks before it sends again',
    },
  ],
  [
    [
      'ErrorSubmissionQuotaExceeded',
      'ErrorExceededMessageLimit',
      'ErrorExceededMessageLimitShowTierUpgrade',
      'ErrorExceededMaxRecipientLimit',
      'ErrorExceededMaxRecipientLimitBlock',
      'ErrorExceededMaxRecipientLimitShowTierUpgrade',
    ],
    delayed(
      '4.7.1',
      'mailbox',
      'The sending mailbox has used up what it may send (10,000 recipients a day in Exchange Online); spread the mail over more mailboxes',
      { retryAfter: QUOTA_WAIT },
    ),
  ],
  [
    ['ErrorMessageSubmissionBlocked', 'ErrorAccountSuspend', 'ErrorAccountSuspendShowTierUpgrade'],
    delayed(
      '4.7.1',
      'mailbox',
      'Exchange has blocked the sending mailbox from sending; see Restricted entities in the Defender portal',
      { retryAfter: QUOTA_WAIT },
    ),
  ],
  [
    ['ErrorQuotaExceeded'],
    delayed(
      '4.2.2',
      'mailbox',
      'The sending mailbox is full, most often of copies in Sent Items; empty it, give it a retention policy, or set saveToSentItems: false',
      { retryAfter: QUOTA_WAIT },
    ),
  ],

  // --- permanent for this message ------------------------------------------------------------------------------------
  [
    ['ErrorInvalidRecipients', 'ErrorInvalidSmtpAddress'],
    failed('5.1.3', 'A recipient address is not valid', 'Exchange does not accept one of the recipient addresses'),
  ],
  [
    ['ErrorMissingRecipients'],
    failed('5.1.0', 'The message has no valid recipient', 'Exchange found no recipient it accepts in the message'),
  ],
  [
    [
      'ErrorMessageSizeExceeded',
      'ErrorDataSizeLimitExceeded',
      'ErrorRequestStreamTooBig',
      'ErrorAttachmentSizeLimitExceeded',
    ],
    TOO_LARGE,
  ],
  [
    ['ErrorAttachmentNestLevelLimitExceeded'],
    failed(
      '5.6.0',
      'The message holds messages nested too deeply',
      'Exchange takes at most ten levels of attached messages',
    ),
  ],
  [
    [
      'ErrorMimeContentInvalid',
      'ErrorMimeContentInvalidBase64String',
      'ErrorMimeContentConversionFailed',
      'ErrorContentConversionFailed',
      'ErrorUnsupportedMimeConversion',
      'ErrorCorruptData',
    ],
    failed('5.6.0', 'The mail server cannot read the message', 'Exchange cannot take the MIME of this message apart'),
  ],
  [
    ['ErrorVirusDetected', 'ErrorVirusMessageDeleted'],
    failed('5.7.1', 'The mail server found a virus in the message', 'Exchange found a virus in the message'),
  ],
  [
    ['ErrorMessageBlocked'],
    failed('5.7.1', 'The mail server blocked the message', 'A rule of Exchange blocked the message'),
  ],
  [
    ['ErrorItemSave', 'ErrorItemSavePropertyError', 'ErrorPropertyValidationFailure', 'ErrorInvalidPropertySet'],
    failed(
      '5.6.0',
      'The mail server cannot store the message',
      'Exchange could not store a property of the message; if all mail of the mailbox fails so, its quota of named properties may be used up',
    ),
  ],
  [
    ['ErrorSendAsDenied'],
    failed(
      '5.7.1',
      'The sending mailbox may not use the address in the From field',
      'Give the sending mailbox Send As on the From address (Add-RecipientPermission <from> -Trustee <mailbox> -AccessRights SendAs), or rewrite the From with a rule under senders',
    ),
  ],

  // --- our configuration, one mailbox --------------------------------------------------------------------------------
  [
    [
      'ErrorNonExistentMailbox',
      'ErrorCannotFindUser',
      'ErrorMissingEmailAddress',
      'ErrorInvalidExchangeImpersonationHeaderData',
    ],
    misconfigured(
      'mailbox',
      'Exchange knows no mailbox of this name; check the mailbox under senders (a typo, deleted, no mailbox behind the address)',
    ),
  ],
  [
    ['ErrorNonPrimarySmtpAddress'],
    misconfigured('mailbox', "Exchange wants the mailbox's primary address; put it under senders instead of the alias"),
  ],
  [
    ['ErrorMailboxConfiguration', 'ErrorInvalidLicense', 'ErrorAccountDisabled'],
    misconfigured('mailbox', 'The sending mailbox is disabled, or its licence does not allow this'),
  ],
  [
    ['ErrorImpersonateUserDenied', 'ErrorImpersonationFailed', 'ErrorAccessDenied', 'ErrorCreateItemAccessDenied'],
    misconfigured(
      'mailbox',
      'The gateway may not act for the sending mailbox. Grant full_access_as_app, or put the mailbox into the scope of the RBAC role "Application EWS.AccessAsApp" (on-premises: ApplicationImpersonation); see Test-ServicePrincipalAuthorization',
    ),
  ],
  [
    ['ErrorSavedItemFolderNotFound'],
    misconfigured(
      'mailbox',
      'The sending mailbox has no Sent Items folder; open it once, or set saveToSentItems: false',
    ),
  ],

  // --- our configuration, everything ---------------------------------------------------------------------------------
  [
    ['ErrorImpersonationDenied'],
    misconfigured(
      'transport',
      'Exchange allows this application no impersonation at all; grant full_access_as_app with admin consent, or the RBAC role "Application EWS.AccessAsApp"',
    ),
  ],
  [
    ['ErrorInvalidAuthorizationContext', 'ErrorNoOAuthServerAvailableForRequest'],
    misconfigured('transport', 'Exchange cannot use the token; check cloud, tenantId and ewsUrl against each other'),
  ],
  [
    ['ErrorPasswordExpired', 'ErrorPasswordChangeRequired'],
    misconfigured('transport', 'The password of the account this gateway logs in with has expired'),
  ],
  [['ErrorOrganizationAccessBlocked'], misconfigured('transport', EWS_CLOSED)],
  [
    ['ErrorInvalidServerVersion', 'ErrorIncorrectSchemaVersion', 'ErrorInvalidSchemaVersionForMailboxVersion'],
    misconfigured(
      'transport',
      'The Exchange server is older than 2013 SP1, the oldest this gateway speaks to; check ewsUrl',
    ),
  ],
  [['ErrorSchemaValidation', 'ErrorInvalidRequest'], BUG],
];

const BAD_GATEWAY = delayed('4.4.1', 'transport', 'Exchange, or a proxy before it, is not available at the moment');

export const HTTP_STATUSES: readonly Row<number>[] = [
  [
    [301, 302, 303, 307, 308],
    misconfigured(
      'transport',
      'The server sends the request elsewhere; check ewsUrl, and that no proxy wants a login page seen',
    ),
  ],
  [
    [400],
    failed(
      '5.5.0',
      'The mail server could not understand the request for this message',
      'HTTP 400: an error of this gateway with this one message; please report it with the request id',
    ),
  ],
  [
    [401],
    loginRefused(
      'Exchange refuses the token, a fresh one too. Check the permission full_access_as_app and its admin consent (or the RBAC assignment), and that cloud and tenantId are those of the mailboxes. Exchange also answers so when it wants fewer connections',
    ),
  ],
  [[403], misconfigured('transport', EWS_CLOSED)],
  [
    [404, 405],
    misconfigured('transport', 'No EWS at this address; check ewsUrl (it ends in /EWS/Exchange.asmx) and cloud'),
  ],
  [[407], misconfigured('transport', 'The proxy wants a login; put user and password into its URL')],
  [[413], TOO_LARGE],
  [
    [429],
    delayed('4.3.2', 'mailbox', 'Exchange throttles; the gateway waits and sends less at a time', { throttled: true }),
  ],
  [[440, 449], delayed('4.3.0', 'message', 'The session with Exchange ended and has to begin anew')],
  [
    [456],
    misconfigured(
      'transport',
      'The account is blocked, or its sign-in was interrupted; see the sign-in logs in Entra ID',
    ),
  ],
  [[500], delayed('4.3.0', 'message', 'Exchange failed with this message and does not say why', { capped: true })],
  [[502, 503], BAD_GATEWAY],
  [
    [504],
    {
      outcome: 'unknown',
      code: '4.4.7',
      text: 'The mail server did not say in time whether it took the message',
      reason:
        'A gateway before Exchange gave up waiting (504); the message may have been sent. The gateway looks before it sends again',
    },
  ],
  [
    [507],
    delayed('4.2.2', 'mailbox', 'The storage of the sending mailbox is full; empty it or raise its quota', {
      retryAfter: QUOTA_WAIT,
    }),
  ],
];

/** `Server Error in '/EWS' Application` as a page, or a redirect to Exchange's own error page: it is starting or failing over. */
export const APPLICATION_ERROR: Meaning = delayed(
  '4.3.0',
  'mailbox',
  'Exchange shows its general error page instead of an answer',
);

/**
 * 405 to a large request: Gromox says so of what is over its limit. It holds up nobody else, and as it could be the
 * address after all, it bounces nothing.
 */
export const PERHAPS_TOO_LARGE: Meaning = delayed(
  '4.3.4',
  'message',
  'The server refuses a large request with 405. Either the message is over its limit, or ewsUrl is not the address of EWS',
  { capped: true },
);

/** A 200 that is not what was asked for, or was cut off. */
export const NO_USABLE_ANSWER: Meaning = {
  outcome: 'unknown',
  code: '4.4.2',
  text: 'The mail server did not say whether it took the message',
  reason:
    'The answer was damaged or no answer of EWS; the message may have been sent. The gateway looks before it sends again',
};

export function unlisted(what: string): Meaning {
  return delayed('4.3.0', 'message', `Exchange answered ${what}, which this gateway does not know`, { capped: true });
}

const byCode = new Map(RESPONSE_CODES.flatMap(([codes, meaning]) => codes.map((code) => [code, meaning] as const)));
const byStatus = new Map(HTTP_STATUSES.flatMap(([codes, meaning]) => codes.map((code) => [code, meaning] as const)));

/** Whether a row names this ResponseCode. */
export function isListed(responseCode: string): boolean {
  return byCode.has(responseCode);
}

export function meaningOfCode(responseCode: string): Meaning {
  return byCode.get(responseCode) ?? unlisted(responseCode);
}

/** For any status but 200. A 2xx that is not 200 is an answer EWS never gives: it may stand for anything. */
export function meaningOfStatus(status: number): Meaning {
  return byStatus.get(status) ?? (status >= 200 && status < 300 ? NO_USABLE_ANSWER : unlisted(`HTTP ${status}`));
}
