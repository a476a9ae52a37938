/**
 * What each answer of Microsoft Graph means, as data: error code and HTTP status to an outcome, for a message being sent
 * and, where that differs, for one being picked up. Graph passes on Exchange's own codes, so what this table does not name is looked up in that of EWS (codes.ts) unless
 * its advice there is about EWS. The decisions behind the rows are those of codes.ts. Pure; never fails.
 *
 * Sources: learn.microsoft.com/graph/errors, /graph/throttling-limits, /graph/auth-limit-mailbox-access and the pages of
 * sendMail, attachment: createUploadSession; RFC 3463 (enhanced codes).
 */
import { MISCONFIGURED } from '../mail/status.ts';
import {
  BUG,
  delayed,
  failed,
  isListed,
  meaningOfCode,
  loginRefused,
  misconfigured,
  NO_USABLE_ANSWER,
  QUOTA_WAIT,
  TOO_LARGE,
  unlisted,
} from './codes.ts';
import type { Meaning, Row } from './codes.ts';

/** `<...>` is to be filled in; the client id is that of the gateway's app registration. */
const NOT_ALLOWED = `Graph does not let this application do this in the sending mailbox (403). Check, in this order:
1. It has the application permission Mail.Send of Microsoft Graph with admin consent; Mail.ReadWrite too for messages above 3 MB and for looking after an unclear outcome.
   Or, for chosen mailboxes only, the RBAC roles, and the mailbox is in their scope (changes take up to two hours):
   New-ManagementRoleAssignment -App <client id> -Role "Application Mail.Send" -CustomResourceScope <scope>   (likewise "Application Mail.ReadWrite")
   Test-ServicePrincipalAuthorization -Identity <service principal> -Resource <mailbox>
2. No application access policy keeps it out: Test-ApplicationAccessPolicy -AppId <client id> -Identity <mailbox>
3. Conditional access for workload identities allows the address this gateway calls from.
Permissions of EWS (full_access_as_app) do not count on Graph`;

export const GRAPH_CODES: readonly Row<string>[] = [
  [
    ['ApplicationThrottled', 'TooManyRequests', 'activityLimitReached', 'MailboxConcurrency'],
    delayed(
      '4.3.2',
      'mailbox',
      'Graph throttles this application for the mailbox (4 requests at a time, 10,000 in ten minutes); the gateway waits and sends less at a time',
      { throttled: true },
    ),
  ],
  [
    ['MailboxInfoStale', 'ErrorMailboxMoveInProgress'],
    delayed('4.2.1', 'mailbox', 'The sending mailbox is being moved inside Exchange'),
  ],
  [
    ['serviceNotAvailable', 'ServiceUnavailable', 'ServiceNotAvailable'],
    delayed('4.3.0', 'mailbox', 'Graph is in trouble by its own account'),
  ],
  [
    ['UnknownError', 'generalException', 'InternalServerError'],
    delayed('4.3.0', 'message', 'Graph failed with this message and does not say why', { capped: true }),
  ],
  [
    ['ErrorItemNotFound', 'ErrorMessageNotFound'],
    delayed('4.3.0', 'message', 'The draft that was to be sent is not in the mailbox any more; it is made anew', {
      capped: true,
    }),
  ],
  [
    ['InvalidInternetMessageHeader'],
    failed(
      '5.6.0',
      'The mail server cannot take a header field of the message',
      'Graph refuses one of the X- fields of this message',
    ),
  ],
  [['RequestEntityTooLarge', 'ErrorRequestEntityTooLarge'], TOO_LARGE],
  [
    ['ErrorAccessDenied', 'Authorization_RequestDenied', 'AccessDenied', 'accessDenied', 'extensionError'],
    misconfigured('mailbox', NOT_ALLOWED),
  ],
  [
    ['ErrorInvalidUser', 'ResourceNotFound', 'Request_ResourceNotFound', 'MailboxNotFound'],
    misconfigured(
      'mailbox',
      'Graph knows no mailbox of this name; check the mailbox under senders (a typo, deleted, no mailbox behind the address, an alias instead of the sign-in name)',
    ),
  ],
  [
    ['MailboxNotEnabledForRESTAPI', 'MailboxNotHostedInExchangeOnline'],
    misconfigured(
      'mailbox',
      'The sending mailbox is not in Exchange Online (on-premises, soft-deleted, or without a licence), and Graph reaches no other; use transport: ews for mailboxes on-premises',
    ),
  ],
  [
    ['OrganizationFromTenantGuidNotFound', 'Authorization_IdentityNotFound'],
    misconfigured('transport', 'The tenant has no Exchange Online; check tenantId and cloud'),
  ],
  [
    ['InvalidAuthenticationToken', 'CompactToken', 'AuthenticationError'],
    misconfigured(
      'transport',
      'Graph cannot use the token; check cloud, tenantId, graphUrl and scope against each other',
    ),
  ],
  [
    [
      'BadRequest',
      'badRequest',
      'invalidRequest',
      'RequestBodyRead',
      'UnableToDeserializePostBody',
      'ErrorInvalidRequest',
      'ErrorInvalidIdMalformed',
      'ErrorInvalidUrlQuery',
      'ErrorInvalidUrlQueryFilter',
      'ErrorInvalidProperty',
      'ErrorAttachmentSizeShouldNotBeLessThanMinimumSize',
    ],
    BUG,
  ],
];

const AWAY = delayed('4.4.1', 'transport', 'Graph, or a proxy before it, is not available at the moment');

export const GRAPH_STATUSES: readonly Row<number>[] = [
  [
    [301, 302, 303, 307, 308],
    misconfigured(
      'transport',
      'The server sends the request elsewhere; check graphUrl, and that no proxy wants a login page seen',
    ),
  ],
  [[400], BUG],
  [
    [401],
    loginRefused(
      'Graph refuses the token, a fresh one too. Check that the application has Mail.Send of Microsoft Graph with admin consent (or the RBAC role "Application Mail.Send"), and that cloud, graphUrl and tenantId are those of the mailboxes',
    ),
  ],
  [[403], misconfigured('transport', NOT_ALLOWED)],
  [
    [404, 405],
    misconfigured('transport', 'No Microsoft Graph at this address; check graphUrl (it ends in /v1.0) and cloud'),
  ],
  [[407], misconfigured('transport', 'The proxy wants a login; put user and password into its URL')],
  [[408, 409, 410, 412, 423], delayed('4.3.0', 'message', 'Graph could not do it at this moment', { capped: true })],
  [[413], TOO_LARGE],
  [
    [429],
    delayed('4.3.2', 'mailbox', 'Graph throttles; the gateway waits and sends less at a time', { throttled: true }),
  ],
  [[500], delayed('4.3.0', 'message', 'Graph failed with this message and does not say why', { capped: true })],
  [[502, 503, 509], AWAY],
  [
    [504],
    {
      outcome: 'unknown',
      code: '4.4.7',
      text: 'The mail server did not say in time whether it took the message',
      reason:
        'Graph gave up waiting for Exchange (504); the message may have been sent. The gateway looks before it sends again',
    },
  ],
  [[507], delayed('4.2.2', 'mailbox', 'The storage of the sending mailbox is full; empty it or raise its quota')],
];

const NOT_READABLE = `Graph does not let this application into the mailbox that is picked up from (403). Check, in this order:
1. It has the application permission Mail.ReadWrite of Microsoft Graph with admin consent; Mail.Read is not enough, because what was picked up is moved or marked.
   Or, for chosen mailboxes only, the RBAC role, and the mailbox is in its scope (changes take up to two hours):
   New-ManagementRoleAssignment -App <client id> -Role "Application Mail.ReadWrite" -CustomResourceScope <scope>
   Test-ServicePrincipalAuthorization -Identity <service principal> -Resource <mailbox>
2. No application access policy keeps it out: Test-ApplicationAccessPolicy -AppId <client id> -Identity <mailbox>
3. Conditional access for workload identities allows the address this gateway calls from.
Permissions of EWS (full_access_as_app) do not count on Graph`;

/** Before those above, where mail is picked up. */
export const PICKUP_CODES: readonly Row<string>[] = [
  [
    ['MailboxInfoStale', 'ErrorMailboxMoveInProgress'],
    delayed('4.2.1', 'mailbox', 'The mailbox that is picked up from is being moved inside Exchange'),
  ],
  [
    ['ErrorConnectionFailed', 'ErrorMailboxStoreUnavailable', 'ErrorMailboxFailover'],
    delayed('4.2.1', 'mailbox', 'The server that holds the mailbox cannot be reached inside Exchange'),
  ],
  [
    ['UnknownError', 'generalException', 'InternalServerError', 'ErrorInternalServerError'],
    delayed('4.3.0', 'message', 'Graph failed with this item and does not say why', { capped: true }),
  ],
  [
    ['ErrorItemNotFound', 'ErrorMessageNotFound', 'ErrorFolderNotFound', 'ErrorParentFolderNotFound'],
    delayed('4.3.0', 'message', 'What was asked for is not in the mailbox any more', { capped: true }),
  ],
  [
    ['ErrorIrresolvableConflict', 'ErrorStaleObject', 'ErrorMoveCopyFailed', 'ErrorItemSave'],
    delayed('4.3.0', 'message', 'The item could not be changed or moved at this moment; somebody else may have', {
      capped: true,
    }),
  ],
  [
    [
      'ErrorItemCorrupt',
      'ErrorCorruptData',
      'ErrorContentConversionFailed',
      'ErrorMimeContentConversionFailed',
      'ErrorMimeContentInvalid',
      'ErrorMimeContentInvalidBase64String',
    ],
    failed(
      '5.6.0',
      'The mail server cannot give the message out',
      'Exchange cannot make a message of this item: it is damaged, or of a kind that is no mail',
    ),
  ],
  [
    ['ErrorQuotaExceeded', 'ErrorMessagePerFolderCountReceiveQuotaExceeded'],
    delayed(
      '4.2.2',
      'mailbox',
      'The mailbox, or the folder that items are moved to, is full; empty it or raise its quota',
      { retryAfter: QUOTA_WAIT },
    ),
  ],
  [
    ['ErrorAccessDenied', 'Authorization_RequestDenied', 'AccessDenied', 'accessDenied', 'extensionError'],
    misconfigured('mailbox', NOT_READABLE),
  ],
  [
    ['ErrorInvalidUser', 'ResourceNotFound', 'Request_ResourceNotFound', 'MailboxNotFound'],
    misconfigured(
      'mailbox',
      'Graph knows no mailbox of this name; check the mailbox under pickup (a typo, deleted, no mailbox behind the address, an alias instead of the sign-in name)',
    ),
  ],
  [
    ['MailboxNotEnabledForRESTAPI', 'MailboxNotHostedInExchangeOnline'],
    misconfigured(
      'mailbox',
      'The mailbox that is picked up from is not in Exchange Online (on-premises, soft-deleted, or without a licence), and Graph reaches no other; mailboxes on-premises are read over EWS',
    ),
  ],
];

export const PICKUP_STATUSES: readonly Row<number>[] = [
  [
    [401],
    loginRefused(
      'Graph refuses the token, a fresh one too. Check that the application has Mail.ReadWrite of Microsoft Graph with admin consent (or the RBAC role "Application Mail.ReadWrite"), and that cloud, graphUrl and tenantId are those of the mailboxes',
    ),
  ],
  [[403], misconfigured('transport', NOT_READABLE)],
  [[500], delayed('4.3.0', 'message', 'Graph failed with this item and does not say why', { capped: true })],
  [[504], delayed('4.4.7', 'message', 'Graph gave up waiting for Exchange (504); it is asked again', { capped: true })],
  [
    [507],
    delayed('4.2.2', 'mailbox', 'The storage of the mailbox is full; empty it or raise its quota', {
      retryAfter: QUOTA_WAIT,
    }),
  ],
];

/** With these, 404 says that the item or folder is gone; with another it is about the mailbox, or Graph itself. */
export const GONE: readonly string[] = [
  'ErrorItemNotFound',
  'ErrorMessageNotFound',
  'ErrorFolderNotFound',
  'ErrorParentFolderNotFound',
];

/** The server does not know, or no longer knows, up to where changes were told (learn.microsoft.com/graph/delta-query-overview). */
export const STALE: readonly string[] = ['syncstatenotfound', 'syncstateinvalid', 'resyncrequired'];

/** @param code error.code of the answer; undefined: the answer holds none */
export const meaningOfGraph = reader(GRAPH_CODES, GRAPH_STATUSES);
/** The same for a message being picked up: nothing is sent. */
export const meaningOfPickup = reader([...GRAPH_CODES, ...PICKUP_CODES], [...GRAPH_STATUSES, ...PICKUP_STATUSES]);

/** Of rows for the same key, the last counts. */
function reader(
  codes: readonly Row<string>[],
  statuses: readonly Row<number>[],
): (status: number, code: string | undefined) => Meaning {
  const byCode = new Map(codes.flatMap(([keys, meaning]) => keys.map((key) => [key, meaning] as const)));
  const byStatus = new Map(statuses.flatMap(([keys, meaning]) => keys.map((key) => [key, meaning] as const)));
  return (status, code) => {
    // Only the status that the documentation names is a success: 200 to a message over its limit was seen with nothing sent.
    if (status >= 200 && status < 300) return NO_USABLE_ANSWER;
    const known = code === undefined ? undefined : (byCode.get(code) ?? exchangeMeaning(code));
    // Above a code: a gateway before Exchange says 504 with any code, and whatever a 401 is called, the token is refused.
    if (status === 401 || status === 504 || known === undefined) {
      return byStatus.get(status) ?? known ?? unlisted(code ?? `HTTP ${status}`);
    }
    return known;
  };
}

function exchangeMeaning(code: string): Meaning | undefined {
  if (!isListed(code)) return undefined;
  const meaning = meaningOfCode(code);
  const isAboutEws = meaning.outcome === 'delayed' && meaning.code === MISCONFIGURED && meaning.capped !== true;
  return isAboutEws ? undefined : meaning;
}
