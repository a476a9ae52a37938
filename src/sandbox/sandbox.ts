/**
 * The sandbox: a small Entra ID and a small Exchange on loopback over HTTPS, with a certificate of their own. For the demo,
 * for trying a configuration, for the tests. Everything is in memory; nothing of it is a real Exchange, and it says so
 * wherever it shows. Rejects with an Error that carries the system's code (EADDRINUSE) where a port cannot be had.
 */
import { randomUUID } from 'node:crypto';
import type { Account, Accounts, ExtendedProtection } from './accounts.ts';
import { accounts } from './accounts.ts';
import { createCertificate } from './certificate.ts';
import { control } from './control.ts';
import { exchangeHandler } from './exchange.ts';
import type { Fault } from './fault.ts';
import { Faults } from './fault.ts';
import { graphHandler } from './graph.ts';
import type { App, Identity } from './identity.ts';
import { startIdentity } from './identity.ts';
import type { IncomingMail } from './incoming.ts';
import { createListener } from './listener.ts';
import type { Arrival, MailboxOptions } from './mailboxes.ts';
import { Mailboxes } from './mailboxes.ts';
import { smtpSandbox } from './smtp.ts';
import type { SmtpSandbox } from './smtp.ts';
import type { Item, MailboxView } from './store.ts';
import type { StreamingOptions } from './streaming.ts';
import { Subscriptions } from './streaming.ts';
import type { RecipientProperties } from './submission.ts';

export type { IncomingMail } from './incoming.ts';
export type { Arrival, MailboxOptions } from './mailboxes.ts';
export type { FolderView, Item as Delivered, MailboxView } from './store.ts';

export interface SandboxOptions {
  readonly mailboxes: readonly MailboxOptions[];
  /** Of Exchange and the control API; Entra ID takes the next one. Default 0: any two that are free. */
  readonly port?: number;
  /** Further applications beside the one that has `clientSecret`, full_access_as_app and SMTP.SendAsApp. */
  readonly apps?: readonly App[];
  /** Client id -> mailboxes that an application without a role may act for. */
  readonly scopes?: Readonly<Record<string, readonly string[]>>;
  /** Who may log in with a password, as at Exchange on its own servers. Default: one, with a password of its own. */
  readonly accounts?: readonly Account[];
  /** Default: NTLM and Basic. */
  readonly schemes?: readonly ('ntlm' | 'basic')[];
  /** Of NTLM; default `allow`. */
  readonly extendedProtection?: ExtendedProtection;
  /** What recipient properties do beside MIME; default `replace`, as Exchange is understood to do. */
  readonly recipientProperties?: RecipientProperties;
  /** Octets, default 64 MiB. */
  readonly maxRequestSize?: number;
  /** Of EWS notifications. */
  readonly streaming?: StreamingOptions;
  /** Octets that SMTP announces as SIZE and takes, default 35 MiB. */
  readonly smtpSize?: number;
  /** Is told each request of the right shape, and each proper answer that is no SOAP fault. */
  readonly record?: (document: Buffer) => void;
  readonly now?: () => number;
}

export interface Sandbox {
  /** https://127.0.0.1:port, of Exchange and the control API. */
  readonly origin: string;
  readonly ewsUrl: string;
  readonly graphUrl: string;
  readonly authority: string;
  readonly tenantId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** PEM of the certificate authority to trust. */
  readonly ca: string;
  readonly identity: Identity;
  readonly accounts: Accounts;
  /** SMTP submission into the same mailboxes, on 127.0.0.1. */
  readonly smtp: SmtpSandbox;
  /** What was sent through it, in order. */
  arrived(): readonly Arrival[];
  /** @throws Error if there is no such mailbox */
  mailbox(address: string): MailboxView;
  /** Mail from outside reaches a mailbox. @throws Error if there is no such mailbox */
  receive(address: string, mail: IncomingMail): Promise<Item>;
  /** How many streams of EWS notifications are open. */
  streams(): number;
  /** As a server does that restarts: streams end, and no subscription is known any more. */
  loseSubscriptions(): void;
  fault(fault: Fault): void;
  /** What it does wrong on command, and how many requests each fault has hit. */
  faults(): readonly { readonly fault: Fault; readonly hit: number }[];
  clearFaults(): void;
  /** Closes EWS the way Microsoft does (403 to everything), or opens it again. */
  openEws(open: boolean): void;
  /** Exchange and Entra ID go down: connections are cut and refused. Mail stays. */
  stop(): Promise<void>;
  /** Up again on the same ports. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const TENANT = '5a4d6b0e-0000-4000-8000-5a4d6b0e5a4d';
const CLIENT = 'c11e4700-0000-4000-8000-5a4d6b0e5a4d';
/** The audience of tokens for Exchange Online, which the sandbox stands for. */
const AUDIENCE = 'https://outlook.office365.com';
const GRAPH_AUDIENCE = 'https://graph.microsoft.com';
const HOST = '127.0.0.1';

export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const certificate = await createCertificate();
  const tls = { cert: certificate.cert, key: certificate.key };
  const clientSecret = `sandbox~${randomUUID()}`;
  const now = options.now ?? Date.now;
  const mailboxes = new Mailboxes(options.mailboxes, now);
  const faults = new Faults();
  const ews = { open: true };
  const subscriptions = new Subscriptions(options.streaming);
  const wanted = options.port ?? 0;
  const identity = await startIdentity({
    tls,
    port: wanted === 0 ? 0 : wanted + 1,
    tenantId: TENANT,
    apps: [
      {
        clientId: CLIENT,
        clientSecret,
        roles: ['full_access_as_app', 'Mail.Send', 'Mail.ReadWrite', 'SMTP.SendAsApp'],
      },
      ...(options.apps ?? []),
    ],
    now,
  });
  const logins = accounts({
    accounts: options.accounts ?? [{ username: 'svc-gateway', domain: 'CONTOSO', password: `sandbox~${randomUUID()}` }],
    schemes: options.schemes ?? ['ntlm', 'basic'],
    extendedProtection: options.extendedProtection ?? 'allow',
    certificate: certificate.cert,
    now,
  });
  const exchange = exchangeHandler({
    identity,
    accounts: logins,
    audience: AUDIENCE,
    mailboxes,
    faults,
    isOpen: () => ews.open,
    recipientProperties: options.recipientProperties ?? 'replace',
    subscriptions,
    ...(options.maxRequestSize === undefined ? {} : { maxRequestSize: options.maxRequestSize }),
    ...(options.scopes === undefined ? {} : { scopes: options.scopes }),
    ...(options.record === undefined ? {} : { record: options.record }),
  });
  const graph = graphHandler({
    identity,
    audience: GRAPH_AUDIENCE,
    mailboxes,
    faults,
    origin: () => listener.origin,
    ...(options.scopes === undefined ? {} : { scopes: options.scopes }),
  });
  const smtp = smtpSandbox({
    tls,
    host: HOST,
    port: 0,
    identity,
    audience: AUDIENCE,
    mailboxes,
    ...(options.smtpSize === undefined ? {} : { size: options.smtpSize }),
    ...(options.scopes === undefined ? {} : { scopes: options.scopes }),
  });
  const listener = createListener({
    name: 'Exchange',
    tls,
    host: HOST,
    port: wanted,
    answer: async (request, response, stopped) => {
      const path = URL.parse(request.url ?? '/', `https://${HOST}`)?.pathname ?? '/';
      await (/^\/ews\/exchange\.asmx$/i.test(path)
        ? exchange(request, response, stopped)
        : /^\/(?:v1\.0|upload)\//.test(path)
          ? graph(request, response, stopped)
          : control(path, request, response, { mailboxes, faults, identity, smtp, ews }));
    },
  });

  try {
    await listener.start();
    await smtp.start();
  } catch (error) {
    await listener.stop();
    await identity.close();
    throw error;
  }
  return {
    origin: listener.origin,
    ewsUrl: `${listener.origin}/EWS/Exchange.asmx`,
    graphUrl: `${listener.origin}/v1.0`,
    authority: identity.authority,
    tenantId: TENANT,
    clientId: CLIENT,
    clientSecret,
    ca: certificate.ca,
    identity,
    accounts: logins,
    smtp,
    arrived: () => mailboxes.arrivals,
    mailbox(address) {
      const found = mailboxes.find(address);
      if (!found) throw new Error(`the sandbox has no mailbox ${address}`);
      return found;
    },
    receive: async (address, mail) => await mailboxes.receive(address, mail),
    streams: () => subscriptions.open,
    loseSubscriptions: () => subscriptions.lose(),
    fault: (fault) => faults.add(fault),
    faults: () => faults.list(),
    clearFaults() {
      faults.clear();
      smtp.clearFaults();
    },
    openEws(open) {
      ews.open = open;
    },
    async stop() {
      await Promise.all([listener.stop(), identity.stop(), smtp.stop()]);
    },
    async start() {
      await identity.start();
      await listener.start();
      await smtp.start();
    },
    async close() {
      await Promise.all([listener.stop(), identity.close(), smtp.stop()]);
    },
  };
}
