/** What answers of EWS mean where mail is picked up, row by row. */
import { describe, expect, it } from 'vitest';
import { meaningOfCode } from '../../src/exchange/codes.ts';
import { MAILBOX_CODES, meaningInMailbox } from '../../src/exchange/mailbox-codes.ts';

const ITEM = { outcome: 'failed' };
const CHANGED = { outcome: 'delayed', code: '4.3.0', reach: 'message' };
const MAILBOX = { outcome: 'delayed', code: '4.3.5', reach: 'mailbox', retryAfter: 300_000 };
const FULL = { outcome: 'delayed', code: '4.2.2', reach: 'mailbox', retryAfter: 1_800_000 };

const ROWS: readonly (readonly [code: string, expected: Record<string, unknown>])[] = [
  ['ErrorMimeContentConversionFailed', ITEM],
  ['ErrorContentConversionFailed', ITEM],
  ['ErrorUnsupportedMimeConversion', ITEM],
  ['ErrorMimeContentInvalid', ITEM],
  ['ErrorCorruptData', ITEM],
  ['ErrorItemCorrupt', ITEM],
  ['ErrorInvalidPropertyRequest', ITEM],
  ['ErrorMessageSizeExceeded', { outcome: 'failed', code: '5.3.4' }],
  ['ErrorDataSizeLimitExceeded', { outcome: 'failed', code: '5.3.4' }],
  ['ErrorAttachmentSizeLimitExceeded', { outcome: 'failed', code: '5.3.4' }],
  ['ErrorIrresolvableConflict', CHANGED],
  ['ErrorStaleObject', CHANGED],
  ['ErrorObjectTypeChanged', CHANGED],
  ['ErrorMoveCopyFailed', { ...CHANGED, capped: true }],
  ['ErrorCannotDeleteObject', { ...CHANGED, capped: true }],
  ['ErrorCannotDeleteTaskOccurrence', { ...CHANGED, capped: true }],
  ['ErrorFolderNotFound', MAILBOX],
  ['ErrorSyncFolderNotFound', MAILBOX],
  ['ErrorToFolderNotFound', MAILBOX],
  ['ErrorParentFolderNotFound', MAILBOX],
  ['ErrorManagedFolderNotFound', MAILBOX],
  ['ErrorCannotCreateFolder', MAILBOX],
  ['ErrorCreateFolderAccessDenied', MAILBOX],
  ['ErrorInvalidFolderTypeForOperation', MAILBOX],
  ['ErrorMessagePerFolderCountReceiveQuotaExceeded', FULL],
  ['ErrorQuotaExceeded', FULL],
  ['ErrorAccessDenied', MAILBOX],
  ['ErrorImpersonateUserDenied', MAILBOX],
  ['ErrorImpersonationFailed', MAILBOX],
  ['ErrorDeleteItemAccessDenied', MAILBOX],
  ['ErrorNonExistentMailbox', MAILBOX],
  ['ErrorCannotFindUser', MAILBOX],
  ['ErrorMissingEmailAddress', MAILBOX],
  ['ErrorInvalidExchangeImpersonationHeaderData', MAILBOX],
  ['ErrorNonPrimarySmtpAddress', MAILBOX],
  ['ErrorMailboxConfiguration', MAILBOX],
  ['ErrorInvalidLicense', MAILBOX],
  ['ErrorAccountDisabled', MAILBOX],
  ['ErrorSubscriptionNotFound', CHANGED],
  ['ErrorInvalidSubscription', CHANGED],
  ['ErrorExpiredSubscription', CHANGED],
  ['ErrorSubscriptionUnsubscribed', CHANGED],
  ['ErrorInvalidWatermark', CHANGED],
  ['ErrorEventNotFound', CHANGED],
  ['ErrorReadEventsFailed', CHANGED],
  ['ErrorMissedNotificationEvents', CHANGED],
  ['ErrorProxiedSubscriptionCallFailure', CHANGED],
  ['ErrorNewEventStreamConnectionOpened', CHANGED],
  ['ErrorSubscriptionAccessDenied', CHANGED],
];

describe('ResponseCode', () => {
  it.each(ROWS)('%s', (code, expected) => {
    expect(meaningInMailbox(code)).toMatchObject(expected);
  });

  it('has these rows and no others, each code once', () => {
    expect(MAILBOX_CODES.flatMap(([codes]) => codes)).toEqual(ROWS.map(([code]) => code));
    expect(new Set(ROWS.map(([code]) => code)).size).toBe(ROWS.length);
  });

  it('means what it means elsewhere if it is not here', () => {
    for (const code of ['ErrorServerBusy', 'ErrorImpersonationDenied', 'ErrorInventedTomorrow']) {
      expect(meaningInMailbox(code)).toEqual(meaningOfCode(code));
    }
  });

  it('speaks to the operator of the mailbox that is picked up from, never of sending', () => {
    for (const [, { reason, text, code, outcome }] of MAILBOX_CODES) {
      expect(reason).toContain('<mailbox>');
      expect(`${reason} ${text}`).not.toMatch(/sending|under senders/);
      expect(code[0]).toBe(outcome === 'failed' ? '5' : '4');
    }
  });
});
