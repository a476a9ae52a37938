/** At least one of every event, as the rooms report them. The compiler holds the list complete. */
import type { Event, EventName } from '../../src/mail/event.ts';

export const NOW = Date.UTC(2026, 10, 24, 3, 0, 0);

const attempt = {
  id: '01k9z8-a1b2',
  messageId: '<scan.7@scanner.contoso.com>',
  route: 'exchange',
  mailbox: 'notifications@contoso.com',
  transport: 'exchange',
  attempt: 2,
  size: 5_240_000,
} as const;

const operated = {
  id: '01k9z8-a1b2',
  messageId: '<scan.7@scanner.contoso.com>',
  route: 'exchange',
  mailbox: 'notifications@contoso.com',
  by: 'root',
} as const;

const delayed = {
  outcome: 'delayed',
  code: '4.3.2',
  reach: 'mailbox',
  cause: 'ErrorServerBusy',
  text: 'The mail server is temporarily unable to take the message',
  reason: 'Exchange throttles this mailbox',
  retryAfter: 300_000,
  throttled: true,
  ids: { clientRequestId: '6f9d', requestId: 'a0c1', server: 'AM0PR01' },
} as const;

const failed = {
  outcome: 'failed',
  code: '5.7.1',
  cause: 'ErrorSendAsDenied',
  text: 'The sending mailbox may not use the address in the From field',
  reason: 'Give notifications@contoso.com Send As on ceo@contoso.com',
} as const;

const unknown = {
  outcome: 'unknown',
  code: '4.4.7',
  cause: 'UND_ERR_HEADERS_TIMEOUT',
  text: 'The mail server did not say in time whether it took the message',
  reason: 'Look for Message-ID <scan.7@scanner.contoso.com> in the mailbox of alice@fabrikam.com',
} as const;

const folder = { pickup: 'fax', mailbox: 'notifications@contoso.com', folder: 'inbox' } as const;
const mail = { pickup: 'fax', messageId: '<scan.7@scanner.contoso.com>', from: 'alice@fabrikam.com' } as const;

const bug = new TypeError('cannot read x');
bug.stack =
  'TypeError: cannot read x\n    at send (file:///app/dist/exchange/send.js:10:5)\n    at run (file:///app/a.js:1:1)';

export const EVENTS: { readonly [Name in EventName]: readonly Extract<Event, { event: Name }>[] } = {
  'gateway.starting': [{ event: 'gateway.starting', version: '0.1.0', node: '26.10.0', config: '/etc/config.yaml' }],
  'gateway.ready': [{ event: 'gateway.ready', seconds: 0.31 }],
  'gateway.stopping': [{ event: 'gateway.stopping', why: 'SIGTERM' }],
  'gateway.stopped': [
    { event: 'gateway.stopped', seconds: 1.5, abandoned: 0 },
    { event: 'gateway.stopped', seconds: 8, abandoned: 2 },
  ],
  'config.reloaded': [
    {
      event: 'config.reloaded',
      config: '/etc/config.yaml',
      changed: ['listeners[lan].port', 'spool.sqlite'],
      needsRestart: ['spool.sqlite'],
      removed: { listeners: ['old'], routes: [], pickups: [], accounts: [] },
    },
    {
      event: 'config.reloaded',
      config: '/etc/config.yaml',
      by: 'alex',
      changed: [],
      needsRestart: [],
      removed: { listeners: [], routes: [], pickups: [], accounts: [] },
    },
  ],
  'config.refused': [
    {
      event: 'config.refused',
      config: '/etc/config.yaml',
      faults: [
        '/etc/config.yaml:12:5: retry.intervals: must be a list',
        '/etc/config.yaml:20:1: lo: there is no such setting; did you mean log?',
      ],
    },
  ],
  'listener.open': [
    { event: 'listener.open', listener: 'lan', address: '::', port: 2525, tls: 'optional', auth: 'none' },
  ],
  'console.open': [{ event: 'console.open', url: 'http://127.0.0.1:8025' }],
  'control.open': [{ event: 'control.open', where: '/var/lib/smtp2exchange/control.sock' }],
  'control.failed': [
    {
      event: 'control.failed',
      where: '/var/lib/smtp2exchange/control.sock',
      reason: '/var/lib/smtp2exchange/control.sock is there and is no socket; move it away',
    },
  ],
  'session.opened': [{ event: 'session.opened', listener: 'lan', peer: '10.0.0.7' }],
  'session.closed': [{ event: 'session.closed', listener: 'lan', peer: '10.0.0.7', seconds: 61.5, messages: 1 }],
  'session.refused': [
    {
      event: 'session.refused',
      listener: 'lan',
      peer: '10.0.0.7',
      user: 'pbx@contoso.com',
      refusal: 'size',
      reply: '552 5.3.4 Message too large',
      detail: 'declared by pbx@contoso.com',
    },
  ],
  'auth.succeeded': [
    { event: 'auth.succeeded', listener: 'lan', peer: '10.0.0.7', user: 'pbx', mechanism: 'PLAIN' },
    { event: 'auth.succeeded', listener: 'console', peer: '127.0.0.1', user: 'alex', mechanism: 'password' },
  ],
  'auth.failed': [
    { event: 'auth.failed', listener: 'lan', peer: '10.0.0.7', user: 'pbx@contoso.com', mechanism: 'LOGIN' },
  ],
  'auth.banned': [{ event: 'auth.banned', listener: 'lan', peer: '10.0.0.7', until: NOW + 900_000, failures: 10 }],
  'certificate.loaded': [
    {
      event: 'certificate.loaded',
      listener: 'lan',
      subject: 'CN=mail.contoso.com',
      expiresAt: NOW + 7_776_000_000,
      generated: false,
    },
    {
      event: 'certificate.loaded',
      listener: 'lan',
      subject: 'CN=gateway.contoso.com',
      expiresAt: NOW + 315_360_000_000,
      generated: true,
    },
    {
      event: 'certificate.loaded',
      listener: 'lan',
      subject: 'CN=mail.contoso.com',
      expiresAt: NOW - 60_000,
      generated: false,
    },
  ],
  'certificate.failed': [
    {
      event: 'certificate.failed',
      listener: 'lan',
      reason:
        '/etc/tls/key.pem does not belong to the first certificate of certFile; name the two that were made together',
    },
  ],
  'certificate.expiring': [
    {
      event: 'certificate.expiring',
      listener: 'lan',
      subject: 'CN=mail.contoso.com',
      expiresAt: NOW + 864_000_000,
    },
    {
      event: 'certificate.expiring',
      listener: 'lan',
      subject: 'CN=mail.contoso.com',
      expiresAt: NOW - 864_000_000,
    },
  ],
  'message.accepted': [
    {
      event: 'message.accepted',
      id: '01k9z8-a1b2',
      origin: {
        source: 'smtp',
        name: 'lan',
        peer: '10.0.0.7',
        helo: 'scanner',
        user: 'pbx@contoso.com',
        tls: 'TLSv1.3 TLS_AES_256_GCM_SHA384',
      },
      messageId: '<scan.7@scanner.contoso.com>',
      reversePath: 'scanner@contoso.com',
      recipients: ['alice@fabrikam.com', 'Bob@fabrikam.com'],
      size: 5_240_000,
      items: ['01k9z8-a1b2'],
      repairs: ['added Date'],
      seconds: 0.0421,
    },
    {
      event: 'message.accepted',
      id: '01k9z9-c3d4',
      origin: { source: 'smtp', name: 'lan', peer: '10.0.0.7' },
      messageId: '<8@pbx>',
      reversePath: '',
      recipients: ['alice@fabrikam.com'],
      size: 812,
      items: ['01k9z9-c3d4'],
      repairs: [],
      seconds: 0.004,
    },
    {
      event: 'message.accepted',
      id: '01k9za-e5f6',
      origin: { source: 'pickup', name: 'fax', peer: '', receivedAt: NOW - 1_500 },
      messageId: '<9@contoso.com>',
      reversePath: 'alice@contoso.com',
      recipients: ['+493012345@fax.local'],
      size: 81_200,
      items: ['01k9za-e5f6'],
      repairs: [],
      seconds: 0.2,
    },
    {
      event: 'message.accepted',
      id: '01k9zb-a7b8',
      origin: { source: 'gateway', name: 'pickup', peer: '' },
      messageId: '<01k9zb-a7b8@gateway.contoso.com>',
      reversePath: '',
      recipients: ['alice@contoso.com'],
      size: 1_699,
      items: ['01k9zb-a7b8'],
      repairs: [],
      seconds: 0.014,
    },
  ],
  'delivery.started': [{ event: 'delivery.started', ...attempt }],
  'delivery.relayed': [
    {
      event: 'delivery.relayed',
      ...attempt,
      seconds: 0.42,
      age: 66.1,
      status: {
        outcome: 'relayed',
        code: '2.0.0',
        cause: 'NoError',
        text: 'Accepted by Exchange',
        ids: { clientRequestId: '6f9d', requestId: 'a0c1' },
      },
    },
    {
      event: 'delivery.relayed',
      ...attempt,
      route: 'fax',
      mailbox: 'fax@contoso.com',
      transport: 'smtp',
      size: 81_200,
      seconds: 0.1,
      age: 0.3,
      receivedAt: NOW - 1_800,
      status: { outcome: 'relayed', code: '2.0.0', cause: 'SMTP 250', text: 'Accepted by fax.local' },
    },
  ],
  'delivery.delayed': [
    { event: 'delivery.delayed', ...attempt, seconds: 1.25, due: NOW + 300_000, status: delayed },
    {
      event: 'delivery.delayed',
      ...attempt,
      seconds: 0.1,
      due: NOW,
      status: {
        outcome: 'delayed',
        code: '4.3.5',
        reach: 'transport',
        cause: 'AADSTS7000222',
        text: 'Later',
        reason: 'The client secret has expired.\nMake a new one',
      },
    },
  ],
  'delivery.failed': [{ event: 'delivery.failed', ...attempt, seconds: 0.2, status: failed }],
  'delivery.unknown': [
    { event: 'delivery.unknown', ...attempt, seconds: 120.2, due: NOW + 9_000_000, status: unknown },
  ],
  'delivery.verified': [
    { event: 'delivery.verified', ...attempt, seconds: 0.3, found: 'relayed' },
    { event: 'delivery.verified', ...attempt, seconds: 0.3, found: 'absent' },
    { event: 'delivery.verified', ...attempt, seconds: 0.3, found: 'delayed', detail: 'HTTP 503' },
    { event: 'delivery.verified', ...attempt, seconds: 0, found: 'unknowable', detail: 'no copy is kept' },
  ],
  'item.split': [
    {
      event: 'item.split',
      id: '01k9z8-a1b2-2',
      from: '01k9z8-a1b2',
      messageId: '<scan.7@scanner.contoso.com>',
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
      recipients: ['ceo@contoso.com'],
      status: failed,
    },
  ],
  'lease.lost': [
    {
      event: 'lease.lost',
      id: '01k9z8-a1b2',
      messageId: '<scan.7@scanner.contoso.com>',
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
    },
  ],
  'delivery.bounced': [
    {
      event: 'delivery.bounced',
      id: '01k9z8-a1b2',
      messageId: '<scan.7@scanner.contoso.com>',
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
      to: 'scanner@contoso.com',
      recipients: ['ceo@contoso.com'],
      notice: '01k9z9-c3d4',
      why: 'refused for good',
      status: failed,
    },
  ],
  'delivery.warned': [
    {
      event: 'delivery.warned',
      id: '01k9z8-a1b2',
      messageId: '<scan.7@scanner.contoso.com>',
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
      to: 'scanner@contoso.com',
      recipients: ['ceo@contoso.com'],
      notice: '01k9z9-c3d4',
      age: 14_460,
      status: delayed,
    },
  ],
  'delivery.notified': [
    {
      event: 'delivery.notified',
      id: '01k9z8-a1b2',
      messageId: '<7@contoso.com>',
      route: 'exchange',
      mailbox: 'fax@contoso.com',
      to: 'alice@contoso.com',
      recipients: ['+493012345@fax.local'],
      notice: '01k9z9-c3d4',
      status: { outcome: 'relayed', code: '2.0.0', cause: 'SMTP 250', text: 'The mail server took the message' },
    },
  ],
  'item.parked': [
    {
      event: 'item.parked',
      id: attempt.id,
      messageId: attempt.messageId,
      route: attempt.route,
      mailbox: attempt.mailbox,
      why: 'refused for good',
      status: failed,
    },
  ],
  'item.dropped': [
    {
      event: 'item.dropped',
      id: attempt.id,
      messageId: attempt.messageId,
      route: attempt.route,
      mailbox: attempt.mailbox,
      why: 'age',
      size: 12_345,
      age: 2_592_000,
    },
    { event: 'item.dropped', ...operated, why: 'operator', size: 12_345 },
  ],
  'item.retried': [{ event: 'item.retried', ...operated }],
  'item.held': [{ event: 'item.held', ...operated }],
  'item.moved': [
    { event: 'item.moved', ...operated, from: { route: 'exchange', mailbox: 'scanner@contoso.com' } },
    { event: 'item.moved', ...operated, from: { route: 'fax', mailbox: operated.mailbox } },
    { event: 'item.moved', ...operated, from: { route: 'fax', mailbox: 'scanner@contoso.com' } },
  ],
  'item.exported': [{ event: 'item.exported', ...operated }],
  'item.viewed': [{ event: 'item.viewed', ...operated }],
  'route.held': [
    {
      event: 'route.held',
      route: 'exchange',
      cause: 'ECONNREFUSED',
      reason: 'mail.contoso.com:443 refused the connection',
      until: NOW + 30_000,
      misconfigured: false,
    },
    {
      event: 'route.held',
      route: 'exchange',
      cause: 'AADSTS7000222',
      reason: 'The client secret has expired.\nMake a new one',
      until: NOW + 60_000,
      misconfigured: true,
    },
    {
      event: 'route.held',
      route: 'exchange',
      cause: 'ECONNREFUSED',
      reason: 'mail.contoso.com:443 refused the connection',
      until: NOW + 30_000,
      misconfigured: false,
      elsewhere: true,
    },
  ],
  'transport.chosen': [
    { event: 'transport.chosen', route: 'exchange', transport: 'smtp', auto: false },
    { event: 'transport.chosen', route: 'exchange', transport: 'ews', auto: true },
    {
      event: 'transport.chosen',
      route: 'exchange',
      transport: 'graph',
      auto: true,
      at: NOW - 86_400_000,
      cause: 'HTTP 403',
    },
  ],
  'transport.changed': [
    { event: 'transport.changed', route: 'exchange', from: 'ews', to: 'graph', cause: 'HTTP 403' },
    { event: 'transport.changed', route: 'exchange', from: 'graph', to: 'ews', cause: 'EWS is open again' },
  ],
  'transport.probed': [
    { event: 'transport.probed', route: 'exchange', transport: 'ews', open: true, returns: false },
    { event: 'transport.probed', route: 'exchange', transport: 'ews', open: true, returns: true },
    { event: 'transport.probed', route: 'exchange', transport: 'ews', open: false, returns: false },
  ],
  'shadow.rehearsed': [
    {
      event: 'shadow.rehearsed',
      id: '01k9z8-a1b2',
      messageId: '<scan.7@scanner.contoso.com>',
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
      transport: 'ews',
      size: 5_000,
      from: ['scanner@contoso.com'],
      needsSendAs: true,
      recipients: 3,
      blind: 1,
      reached: 'yes',
    },
    {
      event: 'shadow.rehearsed',
      id: '01k9z8-a1b2',
      messageId: '<scan.7@scanner.contoso.com>',
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
      transport: 'graph',
      size: 5_000,
      from: ['notifications@contoso.com'],
      needsSendAs: false,
      recipients: 1,
      blind: 0,
      reached: 'no',
      cause: 'HTTP 403',
      reason: 'Grant Mail.Send',
    },
  ],
  'route.released': [{ event: 'route.released', route: 'exchange', seconds: 9_000 }],
  'lane.held': [
    {
      event: 'lane.held',
      route: 'exchange',
      mailbox: 'notifications@contoso.com',
      cause: 'ErrorServerBusy',
      until: NOW + 12_000,
      throttled: true,
    },
    {
      event: 'lane.held',
      route: 'exchange',
      mailbox: 'pbx@contoso.com',
      cause: 'ErrorQuotaExceeded',
      until: NOW + 1_800_000,
      throttled: false,
    },
  ],
  'pickup.opened': [
    { event: 'pickup.opened', ...folder, transport: 'ews', listens: true },
    { event: 'pickup.opened', ...folder, transport: 'graph', listens: false },
  ],
  'pickup.polled': [
    { event: 'pickup.polled', pickup: 'fax', why: 'news', found: 1, seconds: 0.08 },
    { event: 'pickup.polled', pickup: 'fax', why: 'interval', found: 0, seconds: 0.05 },
  ],
  'pickup.resynced': [{ event: 'pickup.resynced', ...folder }],
  'pickup.refused': [
    {
      event: 'pickup.refused',
      ...mail,
      cause: 'sender',
      reason: 'alice@fabrikam.com is in no rule of allow',
      told: true,
    },
    { event: 'pickup.refused', ...mail, cause: 'size', reason: 'it has 40 MB, maxSize allows 20 MB', told: false },
  ],
  'pickup.skipped': [{ event: 'pickup.skipped', ...mail, cause: 'meeting request' }],
  'pickup.quarantined': [
    {
      event: 'pickup.quarantined',
      ...mail,
      cause: 'ErrorMimeContentConversionFailed',
      reason: 'Exchange could not give out <scan.7@scanner.contoso.com> of alice@fabrikam.com in 8 tries',
      left: false,
    },
    {
      event: 'pickup.quarantined',
      ...mail,
      from: '',
      cause: 'unreadable header',
      reason: 'its header cannot be read',
      left: true,
    },
  ],
  'pickup.repeated': [{ event: 'pickup.repeated', pickup: 'fax', messageId: mail.messageId }],
  'pickup.filed': [
    { event: 'pickup.filed', pickup: 'fax', messageId: mail.messageId, filing: 'move', gone: false },
    { event: 'pickup.filed', pickup: 'fax', messageId: mail.messageId, filing: 'delete', gone: true },
  ],
  'pickup.delayed': [
    {
      event: 'pickup.delayed',
      pickup: 'fax',
      messageId: mail.messageId,
      cause: 'ErrorServerBusy',
      reason: 'The server is busy; <scan.7@scanner.contoso.com> of alice@fabrikam.com waits',
      tries: 1,
      due: NOW + 30_000,
    },
  ],
  'pickup.failed': [
    {
      event: 'pickup.failed',
      pickup: 'fax',
      mailbox: folder.mailbox,
      cause: 'ECONNREFUSED',
      reason: 'mail.contoso.com:443 refused the connection',
      misconfigured: false,
      until: NOW + 30_000,
    },
    {
      event: 'pickup.failed',
      pickup: 'fax',
      mailbox: folder.mailbox,
      cause: 'ErrorAccessDenied',
      reason: 'Give the application access to notifications@contoso.com',
      misconfigured: true,
      until: NOW + 300_000,
    },
  ],
  'pickup.recovered': [{ event: 'pickup.recovered', pickup: 'fax', mailbox: folder.mailbox, seconds: 640.5 }],
  'pickup.deaf': [
    { event: 'pickup.deaf', pickup: 'fax', cause: 'ECONNRESET', reason: 'the connection was reset by the server' },
  ],
  'pickup.waiting': [{ event: 'pickup.waiting', ...folder, other: 'gateway2.contoso.com' }],
  'duty.taken': [
    { event: 'duty.taken', duty: 'alarms' },
    { event: 'duty.taken', duty: 'pickup fax', pickup: 'fax' },
  ],
  'duty.lost': [{ event: 'duty.lost', duty: 'pickup fax', pickup: 'fax', seconds: 5_400 }],
  'duty.left': [{ event: 'duty.left', duty: 'alarms', seconds: 60 }],
  'duty.elsewhere': [
    { event: 'duty.elsewhere', duty: 'alarms' },
    { event: 'duty.elsewhere', duty: 'pickup fax', pickup: 'fax', other: 'gw2' },
  ],
  'token.acquired': [
    {
      event: 'token.acquired',
      account: 'exchange',
      expiresAt: NOW + 3_599_000,
      seconds: 0.2,
      roles: ['full_access_as_app'],
    },
  ],
  'token.failed': [
    {
      event: 'token.failed',
      account: 'exchange',
      cause: 'AADSTS7000222',
      advice: 'The client secret has expired.',
      misconfigured: true,
      validUntil: NOW + 600_000,
      seconds: 0.1,
    },
    {
      event: 'token.failed',
      account: 'exchange',
      cause: 'ENOTFOUND',
      advice: 'Check the name.',
      misconfigured: false,
      seconds: 0.1,
    },
  ],
  'token.warning': [{ event: 'token.warning', account: 'exchange', warning: 'The token carries no roles.' }],
  'transport.warning': [
    { event: 'transport.warning', transport: 'graph', warning: 'Graph keeps a copy in Sent Items.' },
  ],
  'credential.loaded': [{ event: 'credential.loaded', account: 'exchange', expiresAt: NOW + 60_000 }],
  'credential.failed': [
    {
      event: 'credential.failed',
      account: 'exchange',
      reason: 'exchange.passwordFile there is no such file',
    },
  ],
  'spool.open': [
    {
      event: 'spool.open',
      where: 'data/spool.db',
      spool: 'gateway-1f2e3d4c',
      queued: 3,
      recovered: 1,
      swept: 0,
      seconds: 0.012,
    },
  ],
  'spool.trouble': [{ event: 'spool.trouble', trouble: 'full', detail: 'data/spool.db: no space left' }],
  'spool.takenOver': [
    { event: 'spool.takenOver', where: 'postgresql://gateway@db1:5432/mail', items: 2, from: 'mail-2' },
  ],
  'spool.recovered': [{ event: 'spool.recovered', where: 'data/spool.db', queued: 3 }],
  'alarm.raised': [
    {
      event: 'alarm.raised',
      alarm: 'mailboxMisconfigured:exchange/pbx@contoso.com',
      reason: 'mailboxMisconfigured',
      severity: 'critical',
      title: 'Exchange refuses to send as pbx@contoso.com (ErrorAccessDenied)',
      text: 'Its mail waits.\nGrant the permission',
      since: NOW,
      repeated: false,
    },
    {
      event: 'alarm.raised',
      alarm: 'mailParked',
      reason: 'mailParked',
      severity: 'warning',
      title: '3 messages set aside, waiting for an operator',
      text: 'No sender could be told.',
      since: NOW - 14_400_000,
      repeated: true,
    },
  ],
  'alarm.left': [
    {
      event: 'alarm.left',
      alarm: 'mailParked',
      reason: 'mailParked',
      title: '3 messages set aside, waiting for an operator',
    },
  ],
  'alarm.recovered': [
    {
      event: 'alarm.recovered',
      alarm: 'mailParked',
      reason: 'mailParked',
      title: '3 messages set aside, waiting for an operator',
      seconds: 18_000,
    },
  ],
  'alarm.failed': [
    {
      event: 'alarm.failed',
      channel: 'chat',
      alarm: 'mailParked',
      attempt: 1,
      failure: 'hooks.contoso.com answered HTTP 503',
      givenUp: false,
    },
    {
      event: 'alarm.failed',
      channel: 'heartbeat',
      attempt: 1,
      failure: 'beats.contoso.com refused the connection',
      givenUp: true,
    },
  ],
  'log.dropped': [{ event: 'log.dropped', lines: 17 }],
  bug: [{ event: 'bug', where: 'transport exchange', error: bug, id: '01k9z8-a1b2' }],
};

export const ALL_EVENTS: readonly Event[] = Object.values(EVENTS).flat();
