/** What an alarm can be about, and what a notice of one says. Data only; docs/alarms.md says the same for operators. */

/** The label of the metric. */
export const ALARM_REASONS = [
  'routeHeld', // Exchange, or the way to it, has been out of order for minutes
  'misconfigured', // Exchange refuses the gateway: a person has to mend something
  'ewsClosed', // the same, and the answer is the one of an EWS that is closed
  'mailboxMisconfigured', // Exchange refuses one sending mailbox
  'credentials', // no access token, for a fault of our own
  'secretExpiring', // the client secret, by exchange.expires
  'appCertificateExpiring', // the certificate that gets the access token
  'certificateExpiring', // the certificate of a listener
  'changedOver', // to another way out, for good
  'mailOld', // the oldest waiting message
  'mailParked', // given up, and nobody could be told
  'spoolTrouble', // the store cannot be written or read
  'spoolFull', // new mail is turned away for want of room
  'pickupFailed', // a mailbox cannot be picked up from
  'mailQuarantined', // put aside in a mailbox, for a person to look at
] as const;

/** What each of several gateways on one spool tells of by itself: it has it for itself alone, or cannot reach the others. */
export const OWN_REASONS: ReadonlySet<AlarmReason> = new Set<AlarmReason>(['certificateExpiring', 'spoolTrouble']);

export type AlarmReason = (typeof ALARM_REASONS)[number];
/** critical: mail does not move, or cannot come in. warning: there is still time. */
export type AlarmSeverity = 'critical' | 'warning';
