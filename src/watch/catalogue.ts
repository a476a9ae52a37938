/**
 * Every metric of our own: name, type, labels, meaning. Data only; docs/metrics.md says the same and a test holds the
 * two together. Base units, names after https://prometheus.io/docs/practices/naming/.
 */

export interface MetricDefinition {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /**
   * Of several gateways on one spool. gateway: each tells of itself; what all have counted is the sum. spool: each tells the
   * same of the spool they share; a sum would count it as often as there are gateways.
   */
  readonly scope: 'gateway' | 'spool';
  /** Of a histogram, in its unit. */
  readonly buckets?: readonly number[];
}

const counter = (name: string, help: string, ...labels: readonly string[]) =>
  ({ name: `smtp2exchange_${name}`, type: 'counter', scope: 'gateway', help, labels }) as const;
const gauge = (name: string, help: string, ...labels: readonly string[]) =>
  ({ name: `smtp2exchange_${name}`, type: 'gauge', scope: 'gateway', help, labels }) as const;
const ofSpool = (name: string, help: string, ...labels: readonly string[]) =>
  ({ name: `smtp2exchange_${name}`, type: 'gauge', scope: 'spool', help, labels }) as const;
const histogram = (name: string, help: string, buckets: readonly number[], ...labels: readonly string[]) =>
  ({ name: `smtp2exchange_${name}`, type: 'histogram', scope: 'gateway', help, labels, buckets }) as const;

const ACCEPT = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120];
const ATTEMPT = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300];
const AGE = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400, 172_800];
const LAG = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600];

export const CATALOGUE = {
  // in
  accepted: counter('messages_accepted_total', 'Messages accepted: durable, and a 250 sent.', 'listener'),
  recipients: counter('recipients_accepted_total', 'Recipients of the messages accepted.', 'listener'),
  acceptedBytes: counter('accepted_bytes_total', 'Octets of the messages accepted.', 'listener'),
  acceptSeconds: histogram('accept_seconds', 'From the DATA command to the reply after the durable commit.', ACCEPT),
  sessions: counter('sessions_total', 'SMTP sessions opened.', 'listener'),
  sessionsOpen: gauge('sessions_open', 'SMTP sessions open now.', 'listener'),
  refusals: counter(
    'refusals_total',
    'Refusals: a connection, command or message turned away, by why.',
    'listener',
    'refusal',
  ),
  auth: counter('auth_attempts_total', 'Logins tried, by result: succeeded or failed.', 'listener', 'result'),
  bans: counter('auth_bans_total', 'Client addresses banned for too many failed logins.', 'listener'),
  certificateExpiry: gauge(
    'certificate_expiry_timestamp_seconds',
    "When the listener's certificate expires, in Unix time; absent: it has none.",
    'listener',
  ),
  certificateRemaining: gauge(
    'certificate_remaining_seconds',
    "How long the listener's certificate is still good; 0: expired; absent: it has none.",
    'listener',
  ),
  certificateFailures: counter(
    'certificate_failures_total',
    'Replaced certificates that could not be used; the one before stays in use.',
    'listener',
  ),
  // queue and spool
  queueItems: ofSpool(
    'queue_items',
    'Items in the spool by state; relayed, bounced and dropped ones are history.',
    'state',
  ),
  oldestAge: ofSpool('queue_oldest_age_seconds', 'Age of the oldest item that still has to be sent; 0: none.'),
  bodyBytes: ofSpool('spool_body_bytes', 'Octets of the message bodies kept.'),
  freeBytes: ofSpool('spool_free_bytes', "Octets free on the spool's file system; absent where it cannot be known."),
  spoolTrouble: gauge('spool_trouble', '1 from a trouble with the store until it can be written again.'),
  spoolTroubles: counter('spool_troubles_total', 'Troubles with the store.'),
  takenOver: counter(
    'items_taken_over_total',
    'Items that a gateway which is not heard of any more was sending, taken over by this one to be looked into.',
  ),
  statsErrors: counter(
    'spool_stats_errors_total',
    "Scrapes that got the spool's figures late or not at all; they show the last ones known.",
  ),
  // out
  attempts: counter(
    'delivery_attempts_total',
    'Delivery attempts ended, by outcome and cause (a known code, or other).',
    'route',
    'outcome',
    'cause',
  ),
  attemptSeconds: histogram(
    'delivery_attempt_seconds',
    'How long a delivery attempt took.',
    ATTEMPT,
    'route',
    'outcome',
  ),
  delivered: counter(
    'delivered_messages_total',
    'Items delivered; of a pickup: handed over, the route having its name.',
    'route',
  ),
  deliveredBytes: counter('delivered_bytes_total', 'Octets of the items delivered, as spooled.', 'route'),
  age: histogram('delivery_age_seconds', 'From arrival to delivery.', AGE, 'route'),
  inFlight: gauge('deliveries_in_flight', 'Delivery attempts under way.', 'route'),
  parked: counter('items_parked_total', 'Items given up and kept for an operator.', 'route'),
  dropped: counter(
    'items_dropped_total',
    'Parked items that nobody took care of: ended for their age (spool.parkedRetention) or their size (spool.parkedSize).',
    'route',
    'why',
  ),
  operatorActs: counter(
    'operator_acts_total',
    'Items that an operator had tried again (retry), held, moved, dropped, exported or looked into (view).',
    'act',
  ),
  bounced: counter('items_bounced_total', 'Items given up whose sender was told by a bounce.', 'route'),
  splits: counter(
    'items_split_total',
    'Items made of recipients for whom an attempt ended otherwise than for the others of their message.',
    'route',
  ),
  leasesLost: counter(
    'leases_lost_total',
    'Attempts given up because another gateway may have the item by now.',
    'route',
  ),
  warned: counter('items_warned_total', 'Items whose sender was told that they are late.', 'route'),
  notified: counter('items_notified_total', 'Items whose sender was told that they were handed over.', 'route'),
  unknownOutcomes: counter('unknown_outcomes_total', 'Attempts that were fully sent and got no clear answer.', 'route'),
  verifications: counter(
    'verifications_total',
    'Looks for a message of unclear outcome, by what was found.',
    'route',
    'found',
  ),
  misconfiguredAttempts: counter(
    'misconfigured_attempts_total',
    'Attempts that failed for a fault of our own configuration (4.3.5), by how far it reaches.',
    'route',
    'reach',
  ),
  routeHeld: ofSpool('route_held', '1 while the route is held.', 'route'),
  routeMisconfigured: ofSpool(
    'route_misconfigured',
    '1 while the route is held for a fault of our own configuration.',
    'route',
  ),
  shadowRehearsals: counter(
    'shadow_rehearsals_total',
    'Messages that shadow mode has followed to the last step, by whether the sending mailbox was reached: yes, no, unknown.',
    'route',
    'transport',
    'reached',
  ),
  transportInUse: gauge(
    'transport_in_use',
    '1 for the way out that a route takes; with exchange.transport: auto, 0 for the one it has left.',
    'route',
    'transport',
  ),
  holds: counter(
    'holds_total',
    'Waits imposed on a whole route (transport) or a sending mailbox (mailbox), by why.',
    'route',
    'reach',
    'why',
  ),
  holdSeconds: counter(
    'hold_seconds_total',
    'Seconds of the waits imposed, counted when a wait begins; throttled: what Exchange asked for.',
    'route',
    'reach',
    'why',
  ),
  // pickup
  pickupFetched: counter('pickup_fetched_total', 'Messages picked up from a mailbox: durable in the spool.', 'pickup'),
  pickupFetchedBytes: counter('pickup_fetched_bytes_total', 'Octets of the messages picked up.', 'pickup'),
  pickupRefused: counter('pickup_refused_total', 'Messages in the mailbox refused by a rule.', 'pickup', 'cause'),
  pickupSkipped: counter(
    'pickup_skipped_total',
    'Messages in the mailbox left as they are by a rule, and not handed over.',
    'pickup',
  ),
  pickupQuarantined: counter(
    'pickup_quarantined_total',
    'Messages put aside in the mailbox for a person to look at.',
    'pickup',
  ),
  pickupPolls: counter(
    'pickup_polls_total',
    'Looks for new messages that went through, by why: start, interval, news (the server told of some), retry.',
    'pickup',
    'why',
  ),
  pickupResyncs: counter(
    'pickup_resyncs_total',
    'Times that all of the folder was listed anew because the server did not know the cursor any more.',
    'pickup',
  ),
  pickupReconnects: counter(
    'pickup_reconnects_total',
    "Times that the server's notifications ended otherwise than in due course and were asked for again.",
    'pickup',
  ),
  pickupFailures: counter(
    'pickup_failures_total',
    'Times that a mailbox could not be picked up from, told when it begins and when its cause changes.',
    'pickup',
    'cause',
  ),
  pickupUp: gauge('pickup_up', '1 while the mailbox can be picked up from.', 'pickup'),
  pickupWaiting: gauge('pickup_waiting', '1 while another gateway picks up from the folder.', 'pickup'),
  pickupLastPoll: gauge(
    'pickup_last_poll_timestamp_seconds',
    'When the last look for new messages went through, in Unix time; absent: none has yet.',
    'pickup',
  ),
  pickupLag: histogram(
    'pickup_lag_seconds',
    'From when the mailbox had received a message to when it was handed over.',
    LAG,
    'pickup',
  ),
  // several gateways
  dutyHeld: gauge(
    'duty_held',
    '1 while this gateway does what one of several on one spool does at a time; 0: another one does. Absent with a single gateway.',
    'duty',
  ),
  // token
  tokenRequests: counter(
    'token_requests_total',
    'Requests for an access token, by result: acquired or failed.',
    'account',
    'result',
  ),
  tokenFailures: counter(
    'token_failures_total',
    'Requests for an access token that failed, by cause.',
    'account',
    'cause',
  ),
  tokenExpiry: gauge('token_expiry_timestamp_seconds', 'When the present token expires, in Unix time.', 'account'),
  tokenRemaining: gauge('token_remaining_seconds', 'How long the present token is still good; 0: expired.', 'account'),
  credentialRemaining: gauge(
    'credential_remaining_seconds',
    "How long the app registration's credential is still good: the client secret by exchange.expires, or the certificate; 0: expired; absent: not known.",
    'account',
  ),
  // alarms
  alarmsActive: gauge('alarms_active', 'Alarms that stand now, by reason.', 'reason'),
  alarmFailures: counter(
    'alarm_failures_total',
    'Notices of alarms, and signs of life, that did not get through, each try; the log line "alarm.failed" names the channel.',
  ),
  // the program
  configOk: gauge(
    'config_last_reload_successful',
    'Whether the configuration file could be used when it was read last; 0: the one before it is in use.',
  ),
  configTime: gauge(
    'config_last_reload_success_timestamp_seconds',
    'When the configuration in use was read, in Unix time.',
  ),
  logDropped: counter('log_lines_dropped_total', "Log lines given up because the log's reader was too slow."),
  bugs: counter('bugs_total', 'Exceptions that should have been values; the log line "bug" has the details.'),
  buildInfo: gauge('build_info', 'Always 1.', 'version', 'node'),
  startTime: gauge('start_time_seconds', 'When the gateway was started, in Unix time.'),
} as const satisfies Record<string, MetricDefinition>;
