/** Every row of the table, and what no row names, by the answers that servers give. */
import { describe, expect, it } from 'vitest';
import { meaningOfReply, meaningOfTrouble, readReply, ROWS } from '../../src/smtp/answers.ts';
import type { SmtpStep } from '../../src/smtp/client.ts';
import { mailParameters, offeredBy, recipientParameters } from '../../src/smtp/offers.ts';

const around = { host: 'smtp.office365.com', port: 587, login: 'mailbox' } as const;

type Short = string;
/** outcome code reach flags */
function short(words: string, step: SmtpStep, login: 'mailbox' | 'transport' = 'mailbox'): Short {
  const status = meaningOfReply(words, step, { ...around, login });
  if (status.outcome === 'failed') return `failed ${status.code}`;
  const flags = [status.throttled === true ? 'throttled' : '', status.capped === true ? 'capped' : ''];
  const wait = status.retryAfter === undefined ? '' : `${status.retryAfter / 1000}s`;
  return ['delayed', status.code, status.reach, ...flags, wait].filter((part) => part !== '').join(' ');
}

const ANSWERS: readonly (readonly [SmtpStep, string, Short])[] = [
  // login
  [
    'login',
    '535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled',
    'delayed 4.3.5 transport',
  ],
  [
    'login',
    '535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled',
    'delayed 4.3.5 mailbox 300s',
  ],
  [
    'login',
    "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy",
    'delayed 4.3.5 transport',
  ],
  ['login', '535 5.7.139 Authentication unsuccessful, basic authentication is disabled.', 'delayed 4.3.5 transport'],
  ['login', '535 5.7.139 Authentication unsuccessful, the user account is locked', 'delayed 4.3.5 mailbox 300s'],
  [
    'login',
    '535 5.7.3 Authentication unsuccessful [FR0P281CA0001.DEUP281.PROD.OUTLOOK.COM]',
    'delayed 4.3.5 mailbox 300s',
  ],
  ['login', '534 5.7.9 Application-specific password required', 'delayed 4.3.5 transport'],
  ['login', '504 5.7.4 Unrecognized authentication type', 'delayed 4.3.5 transport'],
  ['login', '454 4.7.0 Temporary authentication failure', 'delayed 4.7.0 transport'],
  ['login', '421 4.3.2 Service not available', 'delayed 4.3.2 transport'],
  ['login', '550 5.7.1 no', 'delayed 4.3.5 mailbox 300s'],
  ['login', '450 4.7.1 later', 'delayed 4.7.1 mailbox'],
  // no login
  ['mail', '530 5.7.57 Client not authenticated to send mail. [XX]', 'delayed 4.3.5 transport'],
  ['mail', '530 5.7.0 Must issue a STARTTLS command first', 'delayed 4.3.5 transport'],
  ['mail', '530 5.7.0 Authentication required', 'delayed 4.3.5 transport'],
  // who may send
  [
    'end',
    '554 5.2.252 SendAsDenied; pbx@contoso.com not allowed to send as x@contoso.com; STOREDRV.Submission.Exception:SendAsDeniedException',
    'failed 5.7.60',
  ],
  ['mail', '550 5.7.60 SMTP; Client does not have permissions to send as this sender', 'failed 5.7.60'],
  ['end', '550 5.7.60 no', 'failed 5.7.60'],
  ['mail', '550 5.1.8 Access denied, bad outbound sender AS(42003)', 'delayed 4.7.1 mailbox 1800s'],
  [
    'end',
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    'delayed 4.7.1 mailbox 1800s',
  ],
  ['end', '550 5.2.2 Submission quota exceeded', 'delayed 4.7.1 mailbox 1800s'],
  // Of a recipient, not of the sending mailbox: it holds up nobody else.
  ['end', '554 5.2.2 <bob@contoso.com>: quota exceeded (mailbox for user is full)', 'failed 5.2.2'],
  ['end', '554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException', 'delayed 4.7.1 mailbox 1800s'],
  ['mail', '550 5.7.705 Access denied, tenant has exceeded threshold', 'delayed 4.3.5 transport'],
  // too fast
  [
    'mail',
    '432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending',
    'delayed 4.3.2 mailbox throttled',
  ],
  ['end', '432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded', 'delayed 4.3.2 mailbox throttled'],
  [
    'greeting',
    '421 4.3.2 The maximum number of concurrent server connections has exceeded a limit',
    'delayed 4.4.1 transport',
  ],
  ['mail', '421 4.7.0 too many messages from this address', 'delayed 4.7.0 mailbox throttled'],
  ['mail', '451 4.7.500 Server busy. Please try again later', 'delayed 4.7.0 mailbox throttled'],
  ['mail', '451 4.7.0 Temporary server error. Please try again later. PRX4', 'delayed 4.7.0 mailbox throttled'],
  [
    'mail',
    '421 4.4.2 Message submission rate for this client has exceeded the configured limit',
    'delayed 4.7.0 mailbox throttled',
  ],
  // size
  ['recipient', '452 4.5.3 Too many recipients', 'delayed 4.5.3 message 1s'],
  ['recipient', '552 too many', 'delayed 4.5.3 message 1s'],
  ['end', '552 5.3.4 Message size exceeds fixed maximum message size', 'failed 5.3.4'],
  ['mail', '552 5.2.3 message exceeds', 'failed 5.3.4'],
  ['mail', '552 size', 'failed 5.3.4'],
  // recipients
  ['recipient', '550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain', 'delayed 4.3.5 message capped'],
  ['recipient', '554 5.7.1 <a@b.test>: Relay access denied', 'delayed 4.3.5 message capped'],
  [
    'recipient',
    '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup',
    'failed 5.1.10',
  ],
  ['recipient', '550 5.4.1 Recipient address rejected: Access denied', 'failed 5.4.1'],
  ['recipient', '553 no', 'failed 5.1.0'],
  ['recipient', '450 4.2.0 greylisted', 'delayed 4.2.0 message'],
  // the store
  [
    'end',
    '554 5.2.0 STOREDRV.Deliver.Exception:StorageTransientException.MapiExceptionRpcServerTooBusy',
    'delayed 4.2.0 message capped',
  ],
  ['end', '554 5.2.0 STOREDRV.Submission.Exception:CorruptDataException', 'failed 5.2.0'],
  // before anything
  ['greeting', '554 5.7.1 blocked', 'delayed 4.3.5 transport'],
  ['tls', '454 4.7.0 TLS not available due to temporary reason', 'delayed 4.4.1 transport'],
  ['tls', '502 5.5.1 no', 'delayed 4.3.5 transport'],
  // the dialogue, and classes
  ['mail', '503 5.5.1 Bad sequence of commands', 'delayed 4.5.0 message capped'],
  ['mail', '501 5.1.7 Invalid address', 'failed 5.1.7'],
  ['mail', '550 no', 'failed 5.1.0'],
  ['end', '550 5.7.1 spam', 'failed 5.7.1'],
  ['end', '554 no', 'failed 5.0.0'],
  ['end', '554 4.7.1 mixed', 'failed 5.0.0'],
  ['end', '451 4.3.0 later', 'delayed 4.3.0 message'],
  ['end', '451 later', 'delayed 4.0.0 message'],
  ['end', '354 go on', 'delayed 4.5.0 message capped'],
  ['end', 'HTTP/1.1 400 Bad Request', 'delayed 4.5.0 message capped'],
];

describe('the meaning of an answer', () => {
  it.each(ANSWERS)('at %s: %s', (step, words, expected) => {
    expect(short(words, step)).toBe(expected);
  });

  it('is known for every row of the table', () => {
    const hit = new Set<unknown>();
    for (const [step, words] of ANSWERS) {
      const reply = readReply(words);
      const row = ROWS.find(
        ({ steps, codes, enhanced, text }) =>
          reply !== undefined &&
          (steps?.includes(step) ?? true) &&
          (codes?.includes(reply.code) ?? true) &&
          (enhanced === undefined || (reply.enhanced !== undefined && enhanced.includes(reply.enhanced))) &&
          (text?.test(reply.text) ?? true),
      );
      if (row !== undefined) hit.add(row);
    }
    expect(ROWS.filter((row) => !hit.has(row))).toEqual([]);
  });

  // The same table serves the server of an account, a smarthost, and that of a pickup.
  it('sends nobody to settings that the server has elsewhere', () => {
    const words = ROWS.map(({ means }) => means.reason);
    expect(words.filter((one) => /exchange\.smtp/.test(one))).toEqual([]);
  });

  it('of a refused login concerns all where all log in as one', () => {
    expect(short('535 5.7.3 Authentication unsuccessful', 'login', 'transport')).toBe('delayed 4.3.5 transport');
  });

  it('has a cause without an address, and the words for the operator; for the sender only with a refusal', () => {
    const failed = meaningOfReply('550-5.1.1 <ann@x.test>\r\n550 5.1.1 is\u0007 unknown', 'recipient', around);
    expect(failed.cause).toBe('SMTP 550 5.1.1');
    expect(failed.text).toBe('The mail server refuses the recipient. It said: 550 5.1.1 <ann@x.test> is unknown');
    const delayed = meaningOfReply('450 4.2.0 secret words', 'recipient', around);
    expect(delayed.text).not.toContain('secret words');
    expect(delayed.reason).toContain('smtp.office365.com:587 said to RCPT TO: 450 4.2.0 secret words');
    expect(meaningOfReply(`550 ${'x'.repeat(5000)}`, 'end', around).text.length).toBeLessThan(700);
  });
});

describe('the meaning of silence', () => {
  const of = (step: SmtpStep, code: string) => meaningOfTrouble({ step, code }, around);
  it.each([
    ['connect', 'ECONNREFUSED', '4.4.1', 'transport'],
    ['connect', 'ENOTFOUND', '4.4.1', 'transport'],
    ['connect', 'EAI_AGAIN', '4.4.1', 'transport'],
    ['connect', 'ETIMEDOUT', '4.4.1', 'transport'],
    ['connect', 'SELF_SIGNED_CERT_IN_CHAIN', '4.3.5', 'transport'],
    ['tls', 'ERR_TLS_CERT_ALTNAME_INVALID', '4.3.5', 'transport'],
    ['tls', 'ERR_SSL_WRONG_VERSION_NUMBER', '4.3.5', 'transport'],
    ['tls', 'ECONNRESET', '4.4.2', 'transport'],
    ['login', 'NO_LOGIN', '4.3.5', 'transport'],
    ['login', 'NO_XOAUTH2', '4.3.5', 'transport'],
    ['mail', 'ECONNRESET', '4.4.2', 'transport'],
    ['body', 'ECONNRESET', '4.4.2', 'message'],
    ['body', 'ANSWERED_EARLY', '4.4.2', 'message'],
    ['mail', 'ABORTED', '4.3.2', 'message'],
  ] as const)('at %s: %s', (step, code, enhanced, reach) => {
    expect(of(step, code)).toMatchObject({ outcome: 'delayed', code: enhanced, reach, cause: code });
  });

  it.each(['ECONNRESET', 'ETIMEDOUT', 'ABORTED'])('after the final dot is a doubt: %s', (code) => {
    expect(of('end', code)).toMatchObject({ outcome: 'unknown', cause: code });
  });
});

describe('what a server offers', () => {
  const reply =
    '250-mx.test Hello\r\n250-SIZE 1000\r\n250-AUTH LOGIN XOAUTH2\r\n250-AUTH=LOGIN PLAIN\r\n250-dsn\r\n250-8BITMIME\r\n250 SMTPUTF8';
  it('is read from its answer to EHLO, the first line aside', () => {
    expect(offeredBy(reply)).toEqual({
      dsn: true,
      smtpUtf8: true,
      eightBit: true,
      size: 1000,
      logins: ['LOGIN', 'XOAUTH2', 'LOGIN', 'PLAIN'],
    });
    const nothing = { dsn: false, smtpUtf8: false, eightBit: false, logins: [] };
    expect(offeredBy('250 DSN')).toEqual(nothing);
    expect(offeredBy('250-x\r\n250 SIZE 0')).toEqual(nothing);
    expect(offeredBy('')).toEqual(nothing);
  });

  it('decides which parameters are written', () => {
    const offers = offeredBy(reply);
    const envelope = { reversePath: '', recipients: [], ret: 'full', envelopeId: 'ü' } as const;
    expect(mailParameters(envelope, true, offers)).toBe(' SMTPUTF8 RET=FULL');
    expect(mailParameters(envelope, true, offeredBy(''))).toBe('');
    const recipient = { address: 'a@x.test', notify: ['never', 'delay'] as const };
    expect(recipientParameters({ ...recipient, originalRecipient: 'x'.repeat(501) }, offers)).toBe(' NOTIFY=NEVER');
    expect(recipientParameters(recipient, offeredBy(''))).toBe('');
  });
});
