/** The classification tables against the classes they were made from, row by row. */
import { describe, expect, it } from 'vitest';
import {
  HTTP_STATUSES,
  isListed,
  type Meaning,
  meaningOfCode,
  meaningOfStatus,
  RESPONSE_CODES,
} from '../../src/exchange/codes.ts';

const MINUTE = 60_000;

interface Class {
  readonly says: string;
  readonly codes: readonly string[];
  readonly holds: (meaning: Meaning) => boolean;
}

function isTemporary(meaning: Meaning): boolean {
  return meaning.outcome === 'delayed' && meaning.code !== '4.3.5';
}

const CLASSES: readonly Class[] = [
  {
    says: 'the server is busy: temporary, fewer requests',
    codes: ['ErrorServerBusy'],
    holds: (m) => isTemporary(m) && m.outcome === 'delayed' && m.throttled === true && m.reach === 'mailbox',
  },
  {
    says: 'temporary, seconds to minutes',
    codes: [
      'ErrorInternalServerTransientError',
      'ErrorConnectionFailed',
      'ErrorMailboxStoreUnavailable',
      'ErrorMailboxMoveInProgress',
      'ErrorMailboxFailover',
      'ErrorInsufficientResources',
      'ErrorNotEnoughMemory',
      'ErrorTooManyObjectsOpened',
      'ErrorADUnavailable',
      'ErrorADOperation',
      'ErrorServiceUnavailable',
      'ErrorNoRespondingCASInDestinationSite',
      'ErrorNoApplicableProxyCASServersAvailable',
      'ErrorProxyRequestProcessingFailed',
      'ErrorBatchProcessingStopped',
      'ErrorClientDisconnected',
      'ErrorMessageTrackingTransientError',
    ],
    holds: (m) => isTemporary(m) && m.outcome === 'delayed' && m.capped !== true && m.retryAfter === undefined,
  },
  {
    says: 'temporary for a capped number of tries',
    codes: ['ErrorInternalServerError'],
    holds: (m) => isTemporary(m) && m.outcome === 'delayed' && m.capped === true && m.reach === 'message',
  },
  { says: 'unknown if it answers a send', codes: ['ErrorTimeoutExpired'], holds: (m) => m.outcome === 'unknown' },
  {
    says: 'temporary, lower concurrency',
    codes: ['ErrorExceededConnectionCount', 'ErrorExceededSubscriptionCount', 'ErrorExceededFindCountLimit'],
    holds: (m) => isTemporary(m) && m.outcome === 'delayed' && m.throttled === true,
  },
  {
    says: 'temporary, 15 to 60 minutes, for the mailbox',
    codes: [
      'ErrorSubmissionQuotaExceeded',
      'ErrorExceededMessageLimit',
      'ErrorExceededMessageLimitShowTierUpgrade',
      'ErrorExceededMaxRecipientLimit',
      'ErrorExceededMaxRecipientLimitBlock',
      'ErrorExceededMaxRecipientLimitShowTierUpgrade',
      'ErrorMessageSubmissionBlocked',
      'ErrorAccountSuspend',
      'ErrorAccountSuspendShowTierUpgrade',
      'ErrorQuotaExceeded',
    ],
    holds: (m) =>
      isTemporary(m) &&
      m.outcome === 'delayed' &&
      m.reach === 'mailbox' &&
      (m.retryAfter ?? 0) >= 15 * MINUTE &&
      (m.retryAfter ?? 0) <= 60 * MINUTE,
  },
  {
    says: 'permanent for the message',
    codes: [
      'ErrorInvalidRecipients',
      'ErrorMissingRecipients',
      'ErrorInvalidSmtpAddress',
      'ErrorMessageSizeExceeded',
      'ErrorDataSizeLimitExceeded',
      'ErrorRequestStreamTooBig',
      'ErrorAttachmentSizeLimitExceeded',
      'ErrorAttachmentNestLevelLimitExceeded',
      'ErrorMimeContentInvalid',
      'ErrorMimeContentInvalidBase64String',
      'ErrorMimeContentConversionFailed',
      'ErrorContentConversionFailed',
      'ErrorUnsupportedMimeConversion',
      'ErrorVirusDetected',
      'ErrorVirusMessageDeleted',
      'ErrorMessageBlocked',
      'ErrorCorruptData',
      'ErrorItemSave',
      'ErrorItemSavePropertyError',
      'ErrorPropertyValidationFailure',
      'ErrorInvalidPropertySet',
    ],
    holds: (m) => m.outcome === 'failed',
  },
  {
    says: 'the From is denied: permanent for the message',
    codes: ['ErrorSendAsDenied'],
    holds: (m) => m.outcome === 'failed',
  },
  {
    says: 'configuration, of one mailbox: its mail waits, nobody else does',
    codes: [
      'ErrorNonExistentMailbox',
      'ErrorNonPrimarySmtpAddress',
      'ErrorMailboxConfiguration',
      'ErrorInvalidLicense',
      'ErrorMissingEmailAddress',
      'ErrorCannotFindUser',
      'ErrorAccessDenied',
      'ErrorCreateItemAccessDenied',
      'ErrorImpersonateUserDenied',
      'ErrorImpersonationFailed',
      'ErrorInvalidExchangeImpersonationHeaderData',
      'ErrorAccountDisabled',
      'ErrorSavedItemFolderNotFound',
    ],
    holds: (m) =>
      m.outcome === 'delayed' &&
      m.code === '4.3.5' &&
      m.reach === 'mailbox' &&
      (m.retryAfter ?? 0) >= MINUTE &&
      m.capped !== true,
  },
  {
    says: 'configuration: the route is held',
    codes: [
      'ErrorImpersonationDenied',
      'ErrorInvalidAuthorizationContext',
      'ErrorNoOAuthServerAvailableForRequest',
      'ErrorPasswordExpired',
      'ErrorPasswordChangeRequired',
      'ErrorOrganizationAccessBlocked',
      'ErrorInvalidServerVersion',
      'ErrorIncorrectSchemaVersion',
      'ErrorInvalidSchemaVersionForMailboxVersion',
    ],
    holds: (m) => m.outcome === 'delayed' && m.code === '4.3.5' && m.reach === 'transport' && m.capped !== true,
  },
  {
    says: 'our bug with this message: kept, parked after some tries, nobody else waits',
    codes: ['ErrorSchemaValidation', 'ErrorInvalidRequest'],
    holds: (m) => m.outcome === 'delayed' && m.code === '4.3.5' && m.reach === 'message' && m.capped === true,
  },
];

describe.each(CLASSES)('ResponseCode, $says', ({ codes, holds }) => {
  it.each(codes)('%s', (code) => {
    expect(isListed(code)).toBe(true);
    expect(meaningOfCode(code)).toSatisfy(holds);
  });
});

describe('the table of ResponseCodes', () => {
  const listed = RESPONSE_CODES.flatMap(([codes]) => codes);

  it('names no code twice', () => {
    expect(listed.length).toBe(new Set(listed).size);
  });

  it('holds what the classes hold and nothing else', () => {
    const expected = CLASSES.flatMap(({ codes }) => codes);
    expect(expected.length).toBe(new Set(expected).size);
    expect(listed.toSorted()).toEqual(expected.toSorted());
  });

  it('takes an unknown code for temporary, with capped tries', () => {
    expect(meaningOfCode('ErrorInventedTomorrow')).toMatchObject({
      outcome: 'delayed',
      code: '4.3.0',
      reach: 'message',
      capped: true,
    });
    expect(isListed('ErrorInventedTomorrow')).toBe(false);
  });
});

const STATUSES: readonly (readonly [status: number, expected: Record<string, unknown>])[] = [
  [301, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [302, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [303, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [307, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [308, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [400, { outcome: 'failed' }],
  [401, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [403, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [404, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [405, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [407, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [413, { outcome: 'failed', code: '5.3.4' }],
  [429, { outcome: 'delayed', code: '4.3.2', throttled: true }],
  [440, { outcome: 'delayed', code: '4.3.0' }],
  [449, { outcome: 'delayed', code: '4.3.0' }],
  [456, { outcome: 'delayed', code: '4.3.5', reach: 'transport' }],
  [500, { outcome: 'delayed', code: '4.3.0', reach: 'message', capped: true }],
  [502, { outcome: 'delayed', code: '4.4.1', reach: 'transport' }],
  [503, { outcome: 'delayed', code: '4.4.1', reach: 'transport' }],
  [504, { outcome: 'unknown' }],
  [507, { outcome: 'delayed', code: '4.2.2', reach: 'mailbox', retryAfter: 30 * MINUTE }],
];

describe('HTTP status', () => {
  it.each(STATUSES)('%i', (status, expected) => {
    expect(meaningOfStatus(status)).toMatchObject(expected);
  });

  it('holds these and no others, each once', () => {
    expect(HTTP_STATUSES.flatMap(([statuses]) => statuses).toSorted((a, b) => a - b)).toEqual(
      STATUSES.map(([status]) => status),
    );
  });

  it('takes an unknown one for temporary with capped tries, and a success that is none for unknown', () => {
    expect(meaningOfStatus(418)).toMatchObject({ outcome: 'delayed', reach: 'message', capped: true });
    for (const status of [201, 202, 204]) expect(meaningOfStatus(status).outcome).toBe('unknown');
  });
});

describe('every row', () => {
  const rows: Meaning[] = [...RESPONSE_CODES.map(([, m]) => m), ...HTTP_STATUSES.map(([, m]) => m)];

  it('has a code of the class of its outcome, and words for both readers', () => {
    for (const meaning of rows) {
      expect(meaning.code[0]).toBe(meaning.outcome === 'failed' ? '5' : '4');
      expect(meaning.text.length).toBeGreaterThan(20);
      expect(meaning.reason.length).toBeGreaterThan(20);
      expect(meaning.text).not.toMatch(/[@\n]/);
    }
  });

  it('gives the causes of a 403 in order, each with the cmdlet that shows it', () => {
    const { reason } = meaningOfStatus(403);
    const order = [
      'EwsAllowedAppIDs',
      'Set-CASMailbox',
      'full_access_as_app',
      'Test-ServicePrincipalAuthorization',
      'Kiosk',
      'EwsApplicationAccessPolicy',
      'Conditional access',
    ].map((word) => reason.indexOf(word));
    expect(order.every((at) => at > 0)).toBe(true);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });
});
