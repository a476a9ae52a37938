/**
 * What answers of EWS mean where a mailbox is read and put in order, as data; what is not here means what codes.ts says.
 * There the message is one to be sent, here it is one that has come: what is wrong with it fails it alone, and a folder
 * or a permission that is missing is our configuration, which nothing is lost by. Pure; never fails.
 *
 * Source: learn.microsoft.com/exchange/client-developer/web-service-reference/responsecode.
 */
import { delayed, failed, meaningOfCode, misconfigured, QUOTA_WAIT } from './codes.ts';
import type { Meaning, Row } from './codes.ts';

export const MAILBOX_CODES: readonly Row<string>[] = [
  // --- the item ------------------------------------------------------------------------------------------------------
  [
    [
      'ErrorMimeContentConversionFailed',
      'ErrorContentConversionFailed',
      'ErrorUnsupportedMimeConversion',
      'ErrorMimeContentInvalid',
      'ErrorCorruptData',
      'ErrorItemCorrupt',
      'ErrorInvalidPropertyRequest',
    ],
    failed(
      '5.6.0',
      'The mail server cannot give the message out',
      'Exchange cannot make MIME of this item of <mailbox>: it is damaged, or no mail. Open it with Outlook, and move or delete it there',
    ),
  ],
  [
    ['ErrorMessageSizeExceeded', 'ErrorDataSizeLimitExceeded', 'ErrorAttachmentSizeLimitExceeded'],
    failed(
      '5.3.4',
      'The message is larger than the mail server gives out',
      'This item of <mailbox> is over a limit of EWS. Raise the limits of EWS for large messages (maxReceivedMessageSize and maxAllowedContentLength), or move it away with Outlook',
    ),
  ],
  [
    ['ErrorIrresolvableConflict', 'ErrorStaleObject', 'ErrorObjectTypeChanged'],
    delayed('4.3.0', 'message', 'Somebody else changed this item of <mailbox> at the same time'),
  ],
  [
    ['ErrorMoveCopyFailed', 'ErrorCannotDeleteObject', 'ErrorCannotDeleteTaskOccurrence'],
    delayed('4.3.0', 'message', 'Exchange could not move or delete this item of <mailbox> and does not say why', {
      capped: true,
    }),
  ],

  // --- the mailbox ---------------------------------------------------------------------------------------------------
  [
    [
      'ErrorFolderNotFound',
      'ErrorSyncFolderNotFound',
      'ErrorToFolderNotFound',
      'ErrorParentFolderNotFound',
      'ErrorManagedFolderNotFound',
    ],
    misconfigured('mailbox', 'A folder that mail of <mailbox> is picked up from, or filed in, is no longer there'),
  ],
  [
    ['ErrorCannotCreateFolder', 'ErrorCreateFolderAccessDenied', 'ErrorInvalidFolderTypeForOperation'],
    misconfigured(
      'mailbox',
      'Exchange lets no such folder be made or used in <mailbox>; make it with Outlook as a folder for mail, or name another under pickup',
    ),
  ],
  [
    ['ErrorMessagePerFolderCountReceiveQuotaExceeded', 'ErrorQuotaExceeded'],
    delayed(
      '4.2.2',
      'mailbox',
      'The mailbox <mailbox>, or the folder that its picked-up mail is filed in, is full; empty it or give it a retention policy',
      { retryAfter: QUOTA_WAIT },
    ),
  ],
  [
    ['ErrorAccessDenied', 'ErrorImpersonateUserDenied', 'ErrorImpersonationFailed', 'ErrorDeleteItemAccessDenied'],
    misconfigured(
      'mailbox',
      'The gateway may not open <mailbox>. Grant full_access_as_app, or put the mailbox into the scope of the RBAC role "Application EWS.AccessAsApp" (on-premises: ApplicationImpersonation); see Test-ServicePrincipalAuthorization',
    ),
  ],
  [
    [
      'ErrorNonExistentMailbox',
      'ErrorCannotFindUser',
      'ErrorMissingEmailAddress',
      'ErrorInvalidExchangeImpersonationHeaderData',
    ],
    misconfigured(
      'mailbox',
      'Exchange knows no mailbox <mailbox>; check it under pickup (a typo, deleted, no mailbox behind the address)',
    ),
  ],
  [
    ['ErrorNonPrimarySmtpAddress'],
    misconfigured('mailbox', 'Exchange wants the primary address of <mailbox>; put it under pickup instead'),
  ],
  [
    ['ErrorMailboxConfiguration', 'ErrorInvalidLicense', 'ErrorAccountDisabled'],
    misconfigured('mailbox', 'The mailbox <mailbox> is disabled, or its licence does not allow this'),
  ],

  // --- notifications: a hint is lost, no mail ------------------------------------------------------------------------
  [
    [
      'ErrorSubscriptionNotFound',
      'ErrorInvalidSubscription',
      'ErrorExpiredSubscription',
      'ErrorSubscriptionUnsubscribed',
      'ErrorInvalidWatermark',
      'ErrorEventNotFound',
      'ErrorReadEventsFailed',
      'ErrorMissedNotificationEvents',
      'ErrorProxiedSubscriptionCallFailure',
      'ErrorNewEventStreamConnectionOpened',
      'ErrorSubscriptionAccessDenied',
    ],
    delayed(
      '4.3.0',
      'message',
      'Exchange no longer knows the subscription to what comes to <mailbox>; a new one is made',
    ),
  ],
];

const byCode = new Map(MAILBOX_CODES.flatMap(([codes, meaning]) => codes.map((code) => [code, meaning] as const)));

export function meaningInMailbox(responseCode: string): Meaning {
  return byCode.get(responseCode) ?? meaningOfCode(responseCode);
}
