/**
 * The closed list of what the gateway can report. Log lines, metrics and alarms are made from events and nowhere else.
 * Events hold no secret, no token and no message body. Durations are seconds, times epoch milliseconds, sizes octets.
 */
import type { AlarmReason, AlarmSeverity } from './alarm.ts';
import type { Origin } from './envelope.ts';
import type { LaneKey, SpoolId } from './item.ts';
import type { Delayed, DeliveryStatus, Failed, Relayed, Unknown } from './status.ts';

/** Why a client was refused; the label of the metric. */
export type Refusal =
  | 'address' // not in the listener's allow-list
  | 'connections' // too many connections
  | 'auth' // wrong or missing credentials
  | 'tls' // TLS demanded and not used
  | 'size' // message too large
  | 'recipients' // too many recipients
  | 'header' // header block too large or unreadable
  | 'loop' // passed here too often
  | 'sender' // an address this client may not send as
  | 'recipient' // an address this client may not send to
  | 'banned' // too many failed logins
  | 'rate' // more messages than this client may send in a minute
  | 'errors' // too many refused commands
  | 'slow' // too slow in DATA
  | 'policy' // another rule of ours
  | 'room' // spool full
  | 'spool' // spool in trouble
  | 'syntax' // protocol error, endless line, early talker
  | 'timeout' // idle or session limit
  | 'aborted' // the client went away in the middle of a message
  | 'stopping'; // we are going down

/** Why a rule refused a picked-up mail; a label of the metric. */
export type PickupRefusal =
  | 'sender' // may not be picked up from
  | 'outside' // a sender of another organisation
  | 'attachment' // has none, or one that is not allowed
  | 'recipient' // no recipient could be made of it
  | 'size'; // too large

interface Attempt extends LaneKey {
  readonly id: SpoolId;
  readonly messageId: string;
  readonly transport: string;
  readonly attempt: number;
  /** Seconds the attempt took. */
  readonly seconds: number;
  readonly size: number;
}

/** Something an operator did with an item. */
interface ByOperator extends LaneKey {
  readonly id: SpoolId;
  readonly messageId: string;
  /** The operator's user name: on the machine, as the command told it, or in the console. */
  readonly by: string;
}

interface Told extends LaneKey {
  readonly id: SpoolId;
  readonly messageId: string;
  readonly status: DeliveryStatus;
  /** Who was told. */
  readonly to: string;
  /** Whom it is about. */
  readonly recipients: readonly string[];
  /** The notice's own id. */
  readonly notice: SpoolId;
}

export type Event =
  | { readonly event: 'gateway.starting'; readonly version: string; readonly node: string; readonly config: string }
  | { readonly event: 'gateway.ready'; readonly seconds: number }
  /**
   * The configuration file was read anew and is in use. changed: paths of settings, never values; needsRestart: those of
   * them that are not in use yet; removed: names of what is gone.
   */
  | {
      readonly event: 'config.reloaded';
      readonly config: string;
      /** The console's user who asked for it; absent: SIGHUP. */
      readonly by?: string;
      readonly changed: readonly string[];
      readonly needsRestart: readonly string[];
      readonly removed: Readonly<Record<'listeners' | 'routes' | 'pickups' | 'accounts', readonly string[]>>;
    }
  /** It cannot be used as it is now: the configuration before stays in use. faults: a line each, without values. */
  | {
      readonly event: 'config.refused';
      readonly config: string;
      readonly by?: string;
      readonly faults: readonly string[];
    }
  | { readonly event: 'gateway.stopping'; readonly why: string }
  | { readonly event: 'gateway.stopped'; readonly seconds: number; readonly abandoned: number }
  | {
      readonly event: 'listener.open';
      readonly listener: string;
      readonly address: string;
      readonly port: number;
      readonly tls: string;
      readonly auth: string;
    }
  | { readonly event: 'console.open'; readonly url: string }
  /** Where the operator's command reaches this gateway. */
  | { readonly event: 'control.open'; readonly where: string }
  /** The operator's command cannot reach this gateway; mail is not concerned. */
  | { readonly event: 'control.failed'; readonly where: string; readonly reason: string }
  | { readonly event: 'session.opened'; readonly listener: string; readonly peer: string }
  | {
      readonly event: 'session.closed';
      readonly listener: string;
      readonly peer: string;
      readonly seconds: number;
      readonly messages: number;
    }
  | {
      readonly event: 'session.refused';
      readonly listener: string;
      readonly peer: string;
      readonly user?: string;
      readonly refusal: Refusal;
      readonly reply: string;
      readonly detail?: string;
    }
  | {
      readonly event: 'auth.succeeded';
      readonly listener: string;
      readonly peer: string;
      readonly user: string;
      readonly mechanism: string;
    }
  | {
      readonly event: 'auth.failed';
      readonly listener: string;
      readonly peer: string;
      readonly user: string;
      readonly mechanism: string;
    }
  /** Too many failed logins: none from this address is taken until then. */
  | {
      readonly event: 'auth.banned';
      readonly listener: string;
      readonly peer: string;
      readonly until: number;
      readonly failures: number;
    }
  | {
      readonly event: 'certificate.loaded';
      readonly listener: string;
      readonly subject: string;
      readonly expiresAt: number;
      readonly generated: boolean;
    }
  /** What the files hold now cannot be used; the certificate before stays in use. Told once for each reason. */
  | { readonly event: 'certificate.failed'; readonly listener: string; readonly reason: string }
  /** Once a day in the last weeks, and after the end. */
  | {
      readonly event: 'certificate.expiring';
      readonly listener: string;
      readonly subject: string;
      readonly expiresAt: number;
    }
  | {
      readonly event: 'message.accepted';
      readonly id: SpoolId;
      readonly origin: Origin;
      readonly messageId: string;
      readonly reversePath: string;
      readonly recipients: readonly string[];
      readonly size: number;
      readonly items: readonly SpoolId[];
      readonly repairs: readonly string[];
      readonly seconds: number;
    }
  | ({ readonly event: 'delivery.started' } & Omit<Attempt, 'seconds'>)
  | ({
      readonly event: 'delivery.relayed';
      readonly status: Relayed;
      readonly age: number;
      /** When the mailbox it was picked up from had received it, epoch milliseconds. */
      readonly receivedAt?: number;
    } & Attempt)
  | ({ readonly event: 'delivery.delayed'; readonly status: Delayed; readonly due: number } & Attempt)
  | ({ readonly event: 'delivery.failed'; readonly status: Failed } & Attempt)
  | ({ readonly event: 'delivery.unknown'; readonly status: Unknown; readonly due: number } & Attempt)
  | ({
      readonly event: 'delivery.verified';
      readonly found: 'relayed' | 'absent' | 'unknowable' | 'delayed';
      readonly detail?: string;
    } & Attempt)
  | ({
      readonly event: 'item.parked';
      readonly id: SpoolId;
      readonly messageId: string;
      readonly why: string;
      readonly status: DeliveryStatus;
    } & LaneKey)
  /** Parked for too long or too much of it: ended, its body is gone. */
  | ({
      readonly event: 'item.dropped';
      readonly id: SpoolId;
      readonly messageId: string;
      readonly why: 'age' | 'size';
      readonly size: number;
      /** Seconds since it was parked. */
      readonly age: number;
    } & LaneKey)
  /** Ended by an operator, its body is gone. */
  | ({ readonly event: 'item.dropped'; readonly why: 'operator'; readonly size: number } & ByOperator)
  | ({ readonly event: 'item.retried' } & ByOperator)
  | ({ readonly event: 'item.held' } & ByOperator)
  /** It waits in another lane now; `from` is the one before. */
  | ({ readonly event: 'item.moved'; readonly from: LaneKey } & ByOperator)
  /** Its message was read out. */
  | ({ readonly event: 'item.exported' } & ByOperator)
  /** Its content was looked at in the console. */
  | ({ readonly event: 'item.viewed' } & ByOperator)
  /** Recipients for whom an attempt ended otherwise than for the rest of `from` are an item of their own, this one. */
  | ({
      readonly event: 'item.split';
      readonly id: SpoolId;
      readonly messageId: string;
      readonly from: SpoolId;
      readonly recipients: readonly string[];
      readonly status: DeliveryStatus;
    } & LaneKey)
  /** An attempt was given up because another gateway may have the item by now. Its outcome is not written down here. */
  | ({ readonly event: 'lease.lost'; readonly id: SpoolId; readonly messageId: string } & LaneKey)
  /** Given up, and its sender told: the notice is durable as an item of its own. */
  | ({ readonly event: 'delivery.bounced'; readonly why: string } & Told)
  /** Its sender was told that it is late. */
  | ({ readonly event: 'delivery.warned'; readonly age: number } & Told)
  /** Its sender was told that it was handed over. */
  | ({ readonly event: 'delivery.notified' } & Told)
  | {
      readonly event: 'route.held';
      readonly route: string;
      readonly cause: string;
      readonly reason: string;
      readonly until: number;
      readonly misconfigured: boolean;
      /** Another gateway on the spool found it out. */
      readonly elsewhere?: true;
    }
  /** Which way out a route takes. With auto it may change; at and cause: of the last change. */
  | {
      readonly event: 'transport.chosen';
      readonly route: string;
      readonly transport: string;
      readonly auto: boolean;
      readonly at?: number;
      readonly cause?: string;
    }
  | {
      readonly event: 'transport.changed';
      readonly route: string;
      readonly from: 'ews' | 'graph';
      readonly to: 'ews' | 'graph';
      readonly cause: string;
    }
  /** Whether the way that was given up is open again, told when it differs; returns: it is taken again then. */
  | {
      readonly event: 'transport.probed';
      readonly route: string;
      readonly transport: 'ews';
      readonly open: boolean;
      readonly returns: boolean;
    }
  /** Shadow mode: what would have been sent. reached: whether the mailbox could be looked into as sending would. */
  | {
      readonly event: 'shadow.rehearsed';
      readonly id: SpoolId;
      readonly messageId: string;
      readonly route: string;
      readonly mailbox: string;
      readonly transport: string;
      readonly size: number;
      /** Addresses of From. */
      readonly from: readonly string[];
      /** From is not the mailbox itself. */
      readonly needsSendAs: boolean;
      readonly recipients: number;
      readonly blind: number;
      readonly reached: 'yes' | 'no' | 'unknown';
      readonly cause?: string;
      readonly reason?: string;
    }
  | { readonly event: 'route.released'; readonly route: string; readonly seconds: number }
  | ({
      readonly event: 'lane.held';
      readonly cause: string;
      readonly until: number;
      readonly throttled: boolean;
    } & LaneKey)
  /** A mailbox's folder is open to be picked up from. listens: the server tells of new mail. */
  | {
      readonly event: 'pickup.opened';
      readonly pickup: string;
      readonly mailbox: string;
      readonly folder: string;
      readonly transport: 'ews' | 'graph';
      readonly listens: boolean;
    }
  /** A look for new mail that went through. found: items that are new. */
  | {
      readonly event: 'pickup.polled';
      readonly pickup: string;
      readonly why: 'start' | 'interval' | 'news' | 'retry';
      readonly found: number;
      readonly seconds: number;
    }
  /** All of the folder is listed anew: the server did not know the cursor any more. What was handed over is known and stays so. */
  | { readonly event: 'pickup.resynced'; readonly pickup: string; readonly mailbox: string; readonly folder: string }
  /** By rule: its sender may not, or what it has is not allowed. told: a notice to the sender was made durable. */
  | {
      readonly event: 'pickup.refused';
      readonly pickup: string;
      readonly messageId: string;
      readonly from: string;
      readonly cause: PickupRefusal;
      readonly reason: string;
      readonly told: boolean;
    }
  /** By rule: left as it is and not handed over. */
  | {
      readonly event: 'pickup.skipped';
      readonly pickup: string;
      readonly messageId: string;
      readonly from: string;
      readonly cause: string;
    }
  /** Put aside in the mailbox for a person to look at. left: it could not even be moved and stays where it is, untouched from now on. */
  | {
      readonly event: 'pickup.quarantined';
      readonly pickup: string;
      readonly messageId: string;
      readonly from: string;
      readonly cause: string;
      readonly reason: string;
      readonly left: boolean;
    }
  /** It was handed over before (its receipt is there): only its filing was made up for. */
  | { readonly event: 'pickup.repeated'; readonly pickup: string; readonly messageId: string }
  /** Moved, deleted or marked as read in its mailbox. gone: somebody else had moved it by then. */
  | {
      readonly event: 'pickup.filed';
      readonly pickup: string;
      readonly messageId: string;
      readonly filing: 'move' | 'delete' | 'read';
      readonly gone: boolean;
    }
  /** One item could not be fetched or filed; tried again. */
  | {
      readonly event: 'pickup.delayed';
      readonly pickup: string;
      readonly messageId: string;
      readonly cause: string;
      readonly reason: string;
      readonly tries: number;
      readonly due: number;
    }
  /** The mailbox cannot be picked up from; told when it begins and when its cause changes. */
  | {
      readonly event: 'pickup.failed';
      readonly pickup: string;
      readonly mailbox: string;
      readonly cause: string;
      readonly reason: string;
      readonly misconfigured: boolean;
      readonly until: number;
    }
  | { readonly event: 'pickup.recovered'; readonly pickup: string; readonly mailbox: string; readonly seconds: number }
  /** The server's notifications ended otherwise than in due course; they are asked for again, and the interval goes on. */
  | { readonly event: 'pickup.deaf'; readonly pickup: string; readonly cause: string; readonly reason: string }
  /** Another gateway picks up from this folder: this one waits until that one is silent. */
  | {
      readonly event: 'pickup.waiting';
      readonly pickup: string;
      readonly mailbox: string;
      readonly folder: string;
      readonly other: string;
    }
  /**
   * Of several gateways on one spool, this one does from now on what one does at a time. `pickup`: the pickup whose duty it
   * is, here and below.
   */
  | { readonly event: 'duty.taken'; readonly duty: string; readonly pickup?: string }
  /** It could not be kept, and may be another gateway's by now: what was under way for it has ended. seconds: it was had. */
  | { readonly event: 'duty.lost'; readonly duty: string; readonly pickup?: string; readonly seconds: number }
  /** It was given up, for another gateway to take. */
  | { readonly event: 'duty.left'; readonly duty: string; readonly pickup?: string; readonly seconds: number }
  /** Another gateway has it, and this one waits. other: name of its machine, where it is known. */
  | { readonly event: 'duty.elsewhere'; readonly duty: string; readonly pickup?: string; readonly other?: string }
  | {
      readonly event: 'token.acquired';
      readonly account: string;
      readonly expiresAt: number;
      readonly seconds: number;
      readonly roles: readonly string[];
    }
  | {
      readonly event: 'token.failed';
      readonly account: string;
      readonly cause: string;
      readonly advice: string;
      /** No waiting mends it: a person has to change something. */
      readonly misconfigured: boolean;
      readonly validUntil?: number;
      readonly seconds: number;
    }
  | { readonly event: 'token.warning'; readonly account: string; readonly warning: string }
  /** What the way out cannot do as configured, or what a pickup has to do without; said at the start. */
  | { readonly event: 'transport.warning'; readonly transport: string; readonly warning: string }
  /** Its files were read anew. `expiresAt`: its end, epoch milliseconds; absent: not known, whatever was known before. */
  | {
      readonly event: 'credential.loaded';
      readonly account: string;
      readonly expiresAt?: number;
      readonly kind?: 'secret' | 'certificate';
    }
  /** What the files hold now cannot be used; the credential before stays in use. */
  | { readonly event: 'credential.failed'; readonly account: string; readonly reason: string }
  | {
      readonly event: 'spool.open';
      readonly where: string;
      /** A name for the store: the same for all gateways on it, and of no other store. It tells neither path nor address. */
      readonly spool: string;
      readonly queued: number;
      readonly recovered: number;
      readonly swept: number;
      readonly seconds: number;
    }
  | { readonly event: 'spool.trouble'; readonly trouble: string; readonly detail: string }
  | { readonly event: 'spool.recovered'; readonly where: string; readonly queued: number }
  /** What another gateway was sending, which is not heard of any more, is in doubt and waits to be looked into. */
  | { readonly event: 'spool.takenOver'; readonly where: string; readonly items: number; readonly from: string }
  /** Somebody must act. `alarm` is its identity; `repeated`: it was raised before and lasts. */
  | {
      readonly event: 'alarm.raised';
      readonly alarm: string;
      readonly reason: AlarmReason;
      readonly severity: AlarmSeverity;
      readonly title: string;
      readonly text: string;
      readonly since: number;
      readonly repeated: boolean;
    }
  | {
      readonly event: 'alarm.recovered';
      readonly alarm: string;
      readonly reason: AlarmReason;
      readonly title: string;
      readonly seconds: number;
    }
  /** Another gateway on the same spool tells of it from now on; it still stands. */
  | { readonly event: 'alarm.left'; readonly alarm: string; readonly reason: AlarmReason; readonly title: string }
  /** A notice of an alarm, or (without `alarm`) the sign of life, did not get through. */
  | {
      readonly event: 'alarm.failed';
      readonly channel: string;
      readonly alarm?: string;
      readonly attempt: number;
      readonly failure: string;
      readonly givenUp: boolean;
    }
  /** The reader of the log was too slow or gone; this many lines were given up so that mail goes on. */
  | { readonly event: 'log.dropped'; readonly lines: number }
  /** A bug: something threw that should have been a value. Caught at one place; the item concerned is deferred. */
  | { readonly event: 'bug'; readonly where: string; readonly error: Error; readonly id?: SpoolId };

export type EventName = Event['event'];
export type PickupEvent = Extract<Event, { readonly event: `pickup.${string}` }>;
export type Report = (event: Event) => void;
