/**
 * The configuration as the rest of the program gets it: complete, every default in its place, files read, addresses of
 * the cloud filled in. Durations are milliseconds, sizes octets. What must not be shown is a Secret.
 */
import type { DestinationRule } from '../mail/destination.ts';
import type { AttachmentRules, PickupRules } from '../mail/pickup-rules.ts';
import type { Cloud } from './clouds.ts';
import type { KeyPair, KeyPairFiles } from './files.ts';
import type { Secret } from './secret.ts';

export interface Config {
  /** Domain name, for greeting, Received and Message-ID. */
  readonly hostname: string;
  /** At least one. Names differ. */
  readonly listeners: readonly ListenerConfig[];
  /** Names differ. */
  readonly users: readonly UserConfig[];
  /** Rules for address ranges; the first entry that has a client's address applies to it. */
  readonly clients: readonly ClientConfig[];
  readonly senders: SendersConfig;
  readonly recipients: {
    /** Patterns. At least one. */
    readonly allow: readonly string[];
    /** Patterns; they win over allow. */
    readonly deny: readonly string[];
    /** What becomes of addressees in To and Cc that the envelope does not name. */
    readonly headerOnly: 'drop' | 'reject' | 'send';
  };
  /** Failed logins, by client address. */
  readonly logins: {
    /** Of them within the time below, the one that leads to a ban. */
    readonly failures: number;
    readonly within: number;
    readonly ban: number;
    /** Before a failed login is answered; 0: none. */
    readonly delay: number;
  };
  readonly exchange: ExchangeConfig;
  /** The first is `exchange`, then those of the file's `routes`. Names differ. */
  readonly routes: readonly RouteConfig[];
  /** Names differ, from those of routes too. */
  readonly pickups: readonly PickupConfig[];
  /** Absent: no pickup delivers by POP3. */
  readonly pop3?: Pop3Config;
  readonly pacing: {
    /** What of a mailbox goes before its other due mail: under 100,000 octets, or of high importance. No word twice. */
    readonly first: readonly ('small' | 'important')[];
    /** perMinute: Infinity if unlimited. */
    readonly perMailbox: { readonly concurrency: number; readonly perMinute: number };
    readonly concurrency: number;
    readonly catchUp: 'inOrder' | 'parallel';
  };
  readonly retry: {
    /** At least one; none shorter than the one before. */
    readonly intervals: readonly number[];
    readonly giveUpAfter: number;
    /** Age at which the sender is warned; Infinity: never. May be beyond giveUpAfter where the file does not say it. */
    readonly warnAfter: number;
    readonly verifyAfter: number;
  };
  readonly bounces: BouncesConfig;
  readonly spool: {
    readonly store: StoreConfig;
    /** Absolute: of what is this machine's own. With sqlite that of its file. */
    readonly folder: string;
    readonly maxItems: number;
    /** Without effect with postgres. */
    readonly minFree: number;
    readonly retention: number;
    /** Of what was set aside for the operator. */
    readonly parkedRetention: number;
    /** Of all that is set aside; over it, the oldest goes first. */
    readonly parkedSize: number;
  };
  readonly alarms: AlarmsConfig;
  readonly console: ConsoleConfig;
  readonly shutdown: { readonly timeout: number };
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error';
    readonly addresses: 'full' | 'domain' | 'hashed';
  };
}

/** Where the spool is. */
export type StoreConfig =
  /** Absolute. */
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'postgres';
      /** As mail/postgres-url.ts reads it, with absolute paths. */
      readonly url: Secret;
      /** At most. */
      readonly connections: number;
      readonly lease: number;
      /** Where the URL was read from, absolute. */
      readonly fromFile?: string;
    };

export interface ListenerConfig {
  readonly name: string;
  /** IP address. */
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly tls: 'none' | 'optional' | 'required' | 'implicit';
  /**
   * Absent if tls is none, and possibly if it is optional: one is to be generated then. Holds what the files held at the
   * start, and their absolute paths.
   */
  readonly certificate?: KeyPair & KeyPairFiles;
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  readonly auth: 'none' | 'optional' | 'required';
  readonly allowInsecureAuth: boolean;
  /** CIDR, each with its prefix length: `10.0.0.0/8`, `::1/128`. At least one. */
  readonly allow: readonly string[];
  /** CIDR. May connect too, but must log in. Empty if auth is none. */
  readonly loginFrom: readonly string[];
  /** Tolerates what old devices send. */
  readonly lenient: boolean;
  /** LF.LF ends a message. Only with lenient, clients known by address and none that must log in. */
  readonly lfEndOfData: boolean;
  /** CIDR of balancers, whose connections begin with a PROXY header. */
  readonly proxyProtocol: readonly string[];
  /** Patterns; in addition to those of senders, users and clients. At least one. */
  readonly senders?: readonly string[];
  /** Patterns; in addition to those of recipients, users and clients. At least one. */
  readonly recipients?: readonly string[];
  readonly maxMessageSize: number;
  readonly maxHeaderSize: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxRecipients: number;
  /** Messages of one connection. */
  readonly maxMessages: number;
  /** Refused commands of one connection. */
  readonly maxErrors: number;
  readonly idleTimeout: number;
  readonly sessionTimeout: number;
  /** Octets a second in DATA, averaged over a minute; 0: any. */
  readonly minDataRate: number;
  readonly maxHops: number;
}

export interface ConsoleConfig {
  /** IP address; a loopback one where there is a login and no certificate. */
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  /** Names differ. Without users and token there are no pages. */
  readonly users: readonly { readonly name: string; readonly passwordHash: Secret }[];
  readonly token?: Secret;
  /** Present: TLS. */
  readonly certificate?: KeyPair & KeyPairFiles;
  /** Further names it may be reached by. */
  readonly hosts: readonly string[];
  readonly idleTimeout: number;
  readonly sessionTimeout: number;
}

export interface UserConfig {
  readonly name: string;
  /** `$scrypt$ln=..,r=..,p=..$salt$hash` */
  readonly passwordHash: Secret;
  /** Patterns. At least one. */
  readonly senders?: readonly string[];
  readonly recipients?: readonly string[];
  /** Messages; Infinity if unlimited. */
  readonly perMinute: number;
}

export interface ClientConfig {
  /** CIDR. At least one. */
  readonly networks: readonly string[];
  /** Patterns. At least one. */
  readonly senders?: readonly string[];
  readonly recipients?: readonly string[];
  /** Messages; Infinity if unlimited. */
  readonly perMinute: number;
}

export interface SendersConfig {
  /** Sends what no rule gives to another. */
  readonly mailbox: string;
  /** Patterns. At least one. */
  readonly allow: readonly string[];
  /** Of mail that no rule takes. */
  readonly header: 'keep' | 'rewrite' | 'reject';
  /** For addresses without one. */
  readonly domain: string;
  readonly nullReversePath: 'suppress' | 'reject';
  /** The first that matches wins. None is without effect because of an earlier one. */
  readonly rules: readonly SenderRuleConfig[];
}

/** All conditions that are there must hold. */
export interface SenderRuleConfig {
  /** Pattern for the address of From. */
  readonly from?: string;
  /** Pattern for the envelope sender. */
  readonly envelope?: string;
  /** Name of one of the listeners. */
  readonly listener?: string;
  /** Name of one of the users. */
  readonly user?: string;
  /** CIDR. At least one. */
  readonly networks?: readonly string[];
  readonly mailbox: string;
  /** Name of one of the routes. Absent: the first. */
  readonly route?: string;
  readonly header: 'keep' | 'rewrite' | 'reject';
  /** Display name; only with rewrite. */
  readonly name?: string;
}

/** A way out with its account. */
export interface RouteConfig {
  /** Letters, digits, hyphens. */
  readonly name: string;
  /** Where its settings stand in the file: `exchange`, `routes[0]`. */
  readonly setting: string;
  readonly exchange: ExchangeConfig;
}

export interface ExchangeConfig {
  readonly cloud: Cloud;
  readonly transport: 'ews' | 'graph' | 'auto' | 'smtp';
  /** Only with transport auto: EWS is taken again when it is open again. */
  readonly returnToEws: boolean;
  /** Only with transport smtp. */
  readonly smtp?: SmtpConfig;
  /** Delivers in the place of Exchange. Not with transport smtp. */
  readonly shadow?: SmtpConfig;
  /** Empty with a managed identity, and on-premises. */
  readonly tenantId: string;
  /** Empty where tenantId is. */
  readonly clientId: string;
  /** An account if and only if cloud is onPremises. */
  readonly credential: CredentialConfig;
  /** When the client secret ends, in ms since 1970. May be past. Only with a client secret. */
  readonly expires?: number;
  readonly saveToSentItems: boolean;
  /** Names of X- fields that are handed over as InternetHeaders properties too, in the case they were written in. */
  readonly carryHeaders: readonly string[];
  /** What is larger is saved as a draft and sent by its id; Infinity: nothing is. */
  readonly twoStep: { readonly above: number };
  readonly ewsUrl: string;
  /** With the tenant, without a slash at its end. Empty with a managed identity, and on-premises. */
  readonly authority: string;
  /** Of the token for the transport. Empty on-premises. */
  readonly scope: string;
  /** For Microsoft Graph. Empty on-premises. */
  readonly graphScope: string;
  /** With its version, without a slash at its end. Empty on-premises. */
  readonly graphUrl: string;
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  /** PEM of one or more authorities. */
  readonly ca?: string;
  readonly proxy: ProxyConfig;
  readonly connectTimeout: number;
  readonly requestTimeout: number;
}

/** A mailbox that is picked up from. */
export interface PickupConfig {
  /** Letters, digits, hyphens. */
  readonly name: string;
  /** Where its settings stand in the file: `pickup[0]`. */
  readonly setting: string;
  readonly mailbox: string;
  /** Names with slashes between. */
  readonly folder: string;
  /** Name of the account that reads it, one of routes. */
  readonly route: string;
  readonly transport: 'ews' | 'graph' | 'auto';
  readonly interval: number;
  readonly notifications: boolean;
  /** The folder is marked, for other gateways to see. */
  readonly claim: boolean;
  readonly maxSize: number;
  readonly from: {
    /** Patterns. At least one. */
    readonly allow: readonly string[];
    readonly deny: readonly string[];
    readonly inside: boolean;
  };
  /** At least one. */
  readonly recipients: readonly DestinationRule[];
  /** How many examples its rules have, all of which hold. */
  readonly examples: number;
  readonly attachments: AttachmentRules;
  readonly kinds: PickupRules['kinds'];
  readonly deliver: DeliverConfig;
  readonly after: AfterConfig;
  /** Paths of folders; neither is `folder`. */
  readonly refused: string;
  readonly quarantine: string;
  readonly answer: {
    readonly success: boolean;
    readonly failure: boolean;
    /** Sentence for those whose mail a rule refuses. */
    readonly refusal?: string;
    /** The mailbox that tells. */
    readonly from: string;
    readonly subject?: string;
    readonly text?: string;
  };
  readonly concurrency: number;
  /** Infinity if unlimited. */
  readonly perMinute: number;
}

export type AfterConfig =
  | { readonly kind: 'move'; readonly folder: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'read' }
  | { readonly kind: 'keep' };

export type DeliverConfig =
  | {
      readonly kind: 'smtp';
      readonly server: SmtpConfig;
      /** Of the envelope: `sender` stands for that of the mail, '' is the null reverse-path. */
      readonly from: string;
      /** PEM of one or more authorities. */
      readonly ca?: string;
    }
  /** Absolute path. */
  | { readonly kind: 'folder'; readonly path: string; readonly form: 'message' | 'parts' }
  | {
      readonly kind: 'webhook';
      /** https, or http on loopback. */
      readonly url: Secret;
      readonly form: 'raw' | 'multipart';
      readonly secret?: Secret;
      /** Value of the field Authorization. */
      readonly authorization?: Secret;
      readonly ca?: string;
      readonly timeout: number;
    }
  /** At least one word. The first is an absolute path, or a name to be looked for in PATH. */
  | {
      readonly kind: 'command';
      readonly command: readonly string[];
      readonly timeout: number;
      /** What a program needs of ours to run, and no secret. */
      readonly environment: Readonly<Record<string, string>>;
    }
  /** Users differ. */
  | { readonly kind: 'pop3'; readonly user: string; readonly passwordHash: Secret };

export interface Pop3Config {
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly tls: 'none' | 'optional' | 'required' | 'implicit';
  /** As that of a listener. */
  readonly certificate?: KeyPair & KeyPairFiles;
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  /** CIDR. At least one. */
  readonly allow: readonly string[];
  /** CIDR. */
  readonly plainFrom: readonly string[];
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly idleTimeout: number;
}

export interface SmtpConfig {
  /** Domain name or IP address. None of the listeners is there. */
  readonly host: string;
  readonly port: number;
  readonly tls: 'required' | 'implicit' | 'none';
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  readonly login:
    | { readonly kind: 'none' }
    | { readonly kind: 'password'; readonly username: string; readonly password: Secret }
    /** Without username: each sending mailbox as itself. */
    | { readonly kind: 'oauth'; readonly username?: string };
}

export type CredentialConfig =
  /** file: where it was read from, an absolute path. */
  | { readonly kind: 'secret'; readonly secret: Secret; readonly file?: string }
  | ({ readonly kind: 'certificate'; readonly files: KeyPairFiles } & KeyPair)
  /** Without clientId: the one that the machine has of itself. */
  | { readonly kind: 'managedIdentity'; readonly clientId?: string }
  /** Absolute path. */
  | { readonly kind: 'workloadIdentity'; readonly tokenFile: string }
  | {
      readonly kind: 'account';
      readonly login: 'ntlm' | 'basic';
      readonly username: string;
      /** Empty: username has it, or the server finds out. */
      readonly domain: string;
      readonly password: Secret;
      readonly file?: string;
    };

/** Empty: no proxy. URLs may hold a password. */
export interface ProxyConfig {
  /** For everything. */
  readonly proxy?: Secret;
  readonly httpProxy?: Secret;
  readonly httpsProxy?: Secret;
  /** As NO_PROXY has it. */
  readonly noProxy?: string;
}

export interface BouncesConfig {
  /** False: nobody is told; what failed is set aside. */
  readonly send: boolean;
  /** Gets what senders cannot receive. */
  readonly postmaster?: string;
  /** How much of a message comes back where RET does not say it (RFC 3461 section 4.3). */
  readonly body: 'headers' | 'full';
}

export interface AlarmsConfig {
  /** Names differ. */
  readonly to: readonly AlarmChannelConfig[];
  /** Between two notices of the same trouble. */
  readonly repeat: number;
  /** Age of the oldest waiting message. */
  readonly oldestAfter: number;
  /** Time left to a secret or certificate. */
  readonly expiresWithin: number;
  /** The URL is asked for (GET) as long as all is well. */
  readonly heartbeat?: { readonly url: Secret; readonly every: number };
}

/** URLs are https, or http on loopback. */
export type AlarmChannelConfig =
  | {
      readonly kind: 'webhook';
      readonly name: string;
      readonly webhook: Secret;
      readonly form: 'json' | 'teams' | 'slack';
    }
  /** At least one word. The first is an absolute path, or a name to be looked for in PATH. */
  | {
      readonly kind: 'command';
      readonly name: string;
      readonly command: readonly string[];
      /** What a program needs of ours to run, and no secret. */
      readonly environment: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'mail'; readonly name: string; readonly mail: AlarmMailConfig };

export interface AlarmMailConfig {
  readonly to: string;
  readonly from: string;
  /** Domain name or IP address. None of the listeners is there. */
  readonly host: string;
  readonly port: number;
}
