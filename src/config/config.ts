/**
 * The configuration as the rest of the program gets it: complete, every default in its place, files read, addresses of
 * the cloud filled in. Durations are milliseconds, sizes octets. What must not be shown is a Secret.
 */
import type { Cloud } from './clouds.ts';
import type { KeyPair } from './files.ts';
import type { Secret } from './secret.ts';

export interface Config {
  /** Domain name, for greeting, Received and Message-ID. */
  readonly hostname: string;
  /** At least one. Names differ. */
  readonly listeners: readonly ListenerConfig[];
  /** Names differ. */
  readonly users: readonly UserConfig[];
  readonly senders: { readonly mailbox: string };
  readonly exchange: ExchangeConfig;
  readonly pacing: {
    /** perMinute: Infinity if unlimited. */
    readonly perMailbox: { readonly concurrency: number; readonly perMinute: number };
    readonly concurrency: number;
  };
  readonly retry: {
    /** At least one; none shorter than the one before. */
    readonly intervals: readonly number[];
    readonly giveUpAfter: number;
    readonly verifyAfter: number;
  };
  readonly spool: {
    /** Absolute path. */
    readonly sqlite: string;
    readonly maxItems: number;
    readonly minFree: number;
    readonly retention: number;
  };
  readonly console: { readonly address: string; readonly port: number };
  readonly shutdown: { readonly timeout: number };
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error';
    readonly addresses: 'full' | 'domain' | 'hashed';
  };
}

export interface ListenerConfig {
  readonly name: string;
  /** IP address. */
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly tls: 'none' | 'optional' | 'required' | 'implicit';
  /** There unless tls is none. */
  readonly certificate?: KeyPair;
  readonly minTls: '1.0' | '1.1' | '1.2' | '1.3';
  readonly auth: 'none' | 'optional' | 'required';
  readonly allowInsecureAuth: boolean;
  /** CIDR, each with its prefix length: `10.0.0.0/8`, `::1/128`. At least one. */
  readonly allow: readonly string[];
  readonly maxMessageSize: number;
  readonly maxHeaderSize: number;
  readonly maxConnections: number;
  readonly maxRecipients: number;
  readonly idleTimeout: number;
  readonly maxHops: number;
}

export interface UserConfig {
  readonly name: string;
  /** `$scrypt$ln=..,r=..,p=..$salt$hash` */
  readonly passwordHash: Secret;
}

export interface ExchangeConfig {
  readonly cloud: Cloud;
  readonly transport: 'ews';
  readonly tenantId: string;
  readonly clientId: string;
  readonly credential: CredentialConfig;
  readonly saveToSentItems: boolean;
  readonly ewsUrl: string;
  /** With the tenant, without a slash at its end. */
  readonly authority: string;
  readonly scope: string;
  /** PEM of one or more authorities. */
  readonly ca?: string;
  readonly proxy: ProxyConfig;
  readonly connectTimeout: number;
  readonly requestTimeout: number;
}

export type CredentialConfig =
  { readonly kind: 'secret'; readonly secret: Secret } | ({ readonly kind: 'certificate' } & KeyPair);

/** Empty: no proxy. URLs may hold a password. */
export interface ProxyConfig {
  /** For everything. */
  readonly proxy?: Secret;
  readonly httpProxy?: Secret;
  readonly httpsProxy?: Secret;
  /** As NO_PROXY has it. */
  readonly noProxy?: string;
}
