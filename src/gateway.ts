/**
 * The gateway: every part built from a Config, started, and stopped in reverse. This file is the whole start-up, top to
 * bottom. A failing Exchange or identity server does not prevent the start: the gateway is a buffer. What does prevent
 * it is a StartError, one sentence for the person who must act.
 */
import { X509Certificate } from 'node:crypto';
import { dirname } from 'node:path';
import type {
  AlarmChannelConfig,
  Config,
  CredentialConfig,
  ExchangeConfig,
  ListenerConfig,
  SmtpConfig,
} from './config/config.ts';
import { openControl } from './console/control.ts';
import { operations } from './console/operations.ts';
import { createConsole } from './console/server.ts';
import { rereadCredential } from './config/reread.ts';
import { accountAuthorizer } from './exchange/account.ts';
import type { Authorizer } from './exchange/authorizer.ts';
import { bearer } from './exchange/authorizer.ts';
import { createEws } from './exchange/ews.ts';
import type { Credential } from './exchange/credential.ts';
import { createHttp } from './exchange/http.ts';
import type { Http, HttpOptions, HttpWithLanes } from './exchange/http.ts';
import { exchangeTransport } from './exchange/send.ts';
import { createTokenProvider } from './exchange/token.ts';
import type { TokenProvider } from './exchange/token.ts';
import type { Report } from './mail/event.ts';
import { createPolicy } from './mail/policy.ts';
import { senderMap } from './mail/senders.ts';
import type { Arrival, Inject, Source } from './mail/source.ts';
import type { OperatedSpool, Spool } from './mail/spool.ts';
import { SpoolError } from './mail/spool.ts';
import { unreachable } from './mail/status.ts';
import type { Transport } from './mail/transport.ts';
import { createBouncer } from './queue/bounce.ts';
import type { Queue } from './queue/queue.ts';
import { createQueue } from './queue/queue.ts';
import type { CertificateSource } from './smtp/certificate.ts';
import { certificateSource } from './smtp/certificate.ts';
import type { ListenerOptions, SmtpParts } from './smtp/options.ts';
import { clientRates } from './smtp/rates.ts';
import { loginGuard } from './smtp/limits.ts';
import { smtpSource } from './smtp/listener.ts';
import { forgetOld } from './spool/forget.ts';
import { openSqliteSpool } from './spool/sqlite.ts';
import type { Alarms } from './watch/alarm.ts';
import { createAlarms } from './watch/alarm.ts';
import type { Channel } from './watch/alarm-channel.ts';
import type { Ask } from './watch/alarm-webhook.ts';
import { createLog } from './watch/log.ts';
import { createMetrics } from './watch/metrics.ts';

/** The only route there is so far. */
const ROUTE = 'exchange';
/** Where an operator can move mail to. */
export const ROUTES: readonly string[] = [ROUTE];
/** Kept back from the shutdown budget to write down what became of attempts that were cut short. */
const SETTLE = 1_500;
/** Guards against what no other time-out sees; a large message on a slow line takes its time. */
const ATTEMPT_TIMEOUT = 3_600_000;
/** Milliseconds an SMTP server may take for any answer, and at least for that to a message (RFC 5321 section 4.5.3.2.6). */
const SMTP_REPLY = 60_000;
const SMTP_ANSWER = 600_000;
const PURGE_INTERVAL = 3_600_000;
/** Milliseconds a server may take for an alarm. */
const ALARM_TIMEOUT = 20_000;

export interface GatewayOptions {
  readonly version: string;
  /** The configuration file's name, for the log. */
  readonly configFile: string;
  /** Where the log goes, default standard output. */
  readonly logTo?: NodeJS.WritableStream;
}

export interface Gateway {
  /** Where clients connect. */
  readonly listeners: readonly { readonly name: string; readonly address: string; readonly port: number }[];
  readonly consoleUrl: string;
  /** Resolves if the gateway cannot go on: the spool is lost for this process. Nothing is accepted any more. */
  readonly failed: Promise<Error>;
  /** Looks at once whether the certificates of the listeners were replaced; it does so every few seconds anyway. */
  reload(): Promise<void>;
  /** Ends everything within the shutdown budget. @returns attempts that had to be cut short */
  stop(why: string): Promise<number>;
}

/** Why the gateway cannot start. temporary: the same configuration can work later; configuration: a person must change something. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly kind: 'temporary' | 'configuration' | 'failed';
  constructor(kind: StartError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export async function startGateway(config: Config, options: GatewayOptions): Promise<Gateway> {
  const begun = performance.now();
  const undo: (() => Promise<unknown>)[] = [];
  const state = { stopping: false, ready: false };
  try {
    // watch
    const log = createLog({
      report: (event) => report(event),
      level: config.log.level,
      addresses: config.log.addresses,
      ...(options.logTo === undefined ? {} : { destination: options.logTo }),
    });
    undo.push(() => log.flush());
    let spool: OperatedSpool | undefined;
    const credential = endOfCredential(config.exchange);
    const metrics = createMetrics({
      version: options.version,
      stats: async () => spool?.stats(),
      routes: [ROUTE],
      accounts: [ROUTE],
      credentials: new Map(Object.entries(credential === undefined ? {} : { [ROUTE]: credential.expiresAt })),
    });
    const ask = askWeb(config.exchange, undo);
    const alarms: Alarms = createAlarms({
      ...config.alarms,
      gateway: config.hostname,
      ...(credential === undefined ? {} : { credential }),
      channels: await Promise.all(config.alarms.to.map((channel) => channelOf(channel, config.hostname, ask))),
      stats: async () => spool?.stats(),
      room: () => spool?.room(),
      report: (event) => report(event),
    });
    undo.push(() => alarms.stop());
    const listeners: { name: string; address: string; port: number }[] = [];
    const report: Report = (event) => {
      log.report(event);
      metrics.report(event);
      alarms.report(event);
      if (event.event === 'listener.open')
        listeners.push({ name: event.listener, address: event.address, port: event.port });
    };
    report({
      event: 'gateway.starting',
      version: options.version,
      node: process.versions.node,
      config: options.configFile,
    });

    // spool
    const failure = Promise.withResolvers<Error>();
    spool = await openSqliteSpool({
      onLost: (error) => failure.resolve(error),
      path: config.spool.sqlite,
      maxItems: config.spool.maxItems,
      minFree: config.spool.minFree,
      verifyAfter: config.retry.verifyAfter,
      first: config.pacing.first,
      report,
    });
    const opened = spool;
    undo.push(() => opened.close());

    // transport
    const { exchange } = config;
    const http = createHttp(httpOptions(exchange));
    undo.push(() => http.close());
    const { authorizer, replace, token } = loginAt(exchange, { http, report, version: options.version, undo });
    const transport = await transportOf(config, { http, authorizer, token, version: options.version, report });
    undo.push(() => transport.close());

    // queue
    const queue = createQueue({
      spool: opened,
      transports: new Map([[ROUTE, transport]]),
      report,
      schedule: { intervals: config.retry.intervals, giveUpAfter: config.retry.giveUpAfter },
      bouncer: createBouncer({
        spool: opened,
        ...config.bounces,
        hostname: config.hostname,
        recipients: config.recipients,
      }),
      warnAfter: config.retry.warnAfter,
      pace: config.pacing.perMailbox,
      concurrency: config.pacing.concurrency,
      catchUp: config.pacing.catchUp,
      verifyAfter: config.retry.verifyAfter,
      attemptTimeout: ATTEMPT_TIMEOUT,
    });
    queue.start();
    undo.push(() => queue.stop(AbortSignal.abort()));
    const control = await openControl({
      spool: config.spool.sqlite,
      operations: operations({ spool: opened, report, arrived: (lane) => queue.arrived(lane) }),
      routes: ROUTES,
      report,
      version: options.version,
    });
    undo.push(() => control.stop());
    const purge = setInterval(() => void forgetOld(opened, config.spool, report, Date.now()), PURGE_INTERVAL);
    undo.push(async () => clearInterval(purge));

    // sources
    const inject = injectInto(opened, queue, report);
    const shared = { ...rulesOf(config), inject, report };
    const sources: Source[] = [];
    const certificates: CertificateSource[] = [];
    for (const listener of config.listeners) {
      const certificate = await certificateOf(listener, config, report);
      if (certificate !== undefined) {
        certificates.push(certificate);
        undo.push(async () => certificate.close());
      }
      const source = smtpSource(listenerOptions(listener, certificate), shared);
      await source.start();
      sources.push(source);
      undo.push(() => source.stop(AbortSignal.abort()));
    }

    // console
    const ready = (): { ready: boolean; reasons: readonly string[] } => {
      const room = opened.room();
      const reasons = [
        ...(state.ready ? [] : [state.stopping ? 'stopping' : 'starting']),
        ...(room.ok ? [] : [`spool: ${room.reason}`]),
      ];
      return { ready: reasons.length === 0, reasons };
    };
    const web = createConsole({
      address: config.console.address,
      port: config.console.port,
      metrics: () => metrics.render(),
      ready,
      report,
      version: options.version,
    });
    await web.start();
    undo.push(() => web.stop());

    state.ready = true;
    report({ event: 'gateway.ready', seconds: (performance.now() - begun) / 1000 });
    // Beforehand, so that a wrong secret shows now and not at the first mail. Never rejects; its event says all.
    if (exchange.smtp === undefined || exchange.smtp.login.kind === 'oauth') void token?.get();
    alarms.start();
    const { heartbeat } = config.alarms;
    if (heartbeat !== undefined) {
      const { startHeartbeat } = await import('./watch/heartbeat.ts');
      const isWell = (): boolean => ready().ready;
      const beating = startHeartbeat({ ...heartbeat, url: heartbeat.url.reveal(), ask, isWell, report });
      undo.push(async () => beating.stop());
    }

    const stop = async (why: string): Promise<number> => {
      const started = performance.now();
      state.ready = false;
      state.stopping = true;
      report({ event: 'gateway.stopping', why });
      const budget = new AbortController();
      const timer = setTimeout(
        () => budget.abort(),
        Math.max(config.shutdown.timeout - SETTLE, config.shutdown.timeout / 2),
      );
      await Promise.all(sources.map((source) => source.stop(budget.signal)));
      const abandoned = await queue.stop(budget.signal);
      clearTimeout(timer);
      report({ event: 'gateway.stopped', seconds: (performance.now() - started) / 1000, abandoned });
      await unwind(undo);
      return abandoned;
    };
    let stopping: Promise<number> | undefined;
    return {
      listeners,
      consoleUrl: web.url(),
      failed: failure.promise,
      reload: async () => {
        const renewed = renew(exchange, replace, report);
        await Promise.all([...certificates.map((certificate) => certificate.reload()), renewed]);
        queue.mended();
      },
      stop: (why) => (stopping ??= stop(why)),
    };
  } catch (error) {
    await unwind(undo);
    throw asStartError(error);
  }
}

interface WayOutParts {
  readonly http: Http;
  readonly authorizer: Authorizer;
  readonly token: TokenProvider | undefined;
  readonly version: string;
  readonly report: Report;
}

/** Each way out is loaded where it is configured. */
async function transportOf({ exchange, hostname }: Config, parts: WayOutParts): Promise<Transport> {
  const { transport, smtp, ewsUrl, graphUrl, clientId, saveToSentItems, carryHeaders, twoStep } = exchange;
  const { http, authorizer, token, version, report } = parts;
  switch (transport) {
    case 'ews':
      return exchangeTransport({
        ews: await createEws({ url: ewsUrl, authorizer, version, clientId }),
        saveToSentItems,
        carryHeaders,
        twoStepAbove: twoStep.above,
      });
    case 'graph': {
      const { COPIES_ARE_KEPT, graphTransport } = await import('./exchange/graph.ts');
      if (!saveToSentItems) report({ event: 'transport.warning', transport, warning: COPIES_ARE_KEPT });
      return graphTransport({
        graph: { http, authorizer, url: graphUrl, version, clientId },
        saveToSentItems,
        carryHeaders,
      });
    }
    case 'smtp':
      if (smtp === undefined)
        throw new Error('a configuration with transport smtp and without a server passed its checks');
      return smtpOf(exchange, smtp, hostname, token);
    default:
      return unreachable(transport);
  }
}

async function smtpOf(
  { ca, connectTimeout, requestTimeout }: ExchangeConfig,
  smtp: SmtpConfig,
  hostname: string,
  token: TokenProvider | undefined,
): Promise<Transport> {
  const { smtpTransport } = await import('./smtp/submit.ts');
  const { login, ...server } = smtp;
  const { kind } = login;
  const user = login.kind === 'none' || login.username === undefined ? {} : { user: login.username };
  return smtpTransport({
    ...server,
    ...(ca === undefined ? {} : { ca }),
    name: hostname,
    timeouts: {
      connect: connectTimeout,
      reply: Math.min(requestTimeout, SMTP_REPLY),
      answer: Math.max(requestTimeout, SMTP_ANSWER),
    },
    login:
      login.kind === 'password'
        ? { kind: login.kind, user: login.username, password: login.password.reveal() }
        : kind === 'oauth' && token !== undefined
          ? { kind, token, ...user }
          : { kind: 'none' },
  });
}

function httpOptions({ ca, proxy, connectTimeout, requestTimeout, minTls }: ExchangeConfig): HttpOptions {
  return {
    minTls,
    connectTimeout,
    headersTimeout: requestTimeout,
    ...(ca === undefined ? {} : { ca }),
    ...(proxy.proxy === undefined ? {} : { proxy: proxy.proxy.reveal() }),
    ...(proxy.httpProxy === undefined ? {} : { httpProxy: proxy.httpProxy.reveal() }),
    ...(proxy.httpsProxy === undefined ? {} : { httpsProxy: proxy.httpsProxy.reveal() }),
    ...(proxy.noProxy === undefined ? {} : { noProxy: proxy.noProxy }),
  };
}

/** When the app registration's credential ends: by the configuration, or by the certificate itself. */
function endOfCredential({
  credential,
  expires,
}: ExchangeConfig): { readonly kind: 'secret' | 'certificate'; readonly expiresAt: number } | undefined {
  const { kind } = credential;
  if (kind === 'certificate') {
    return { kind, expiresAt: Date.parse(new X509Certificate(credential.certificate).validTo) };
  }
  return expires === undefined || kind !== 'secret' ? undefined : { kind, expiresAt: expires };
}

/** The way out for alarms, made when first needed: past everything that mail needs, but through the same proxy. */
function askWeb(exchange: ExchangeConfig, undo: (() => Promise<unknown>)[]): Ask {
  let http: Http | undefined;
  undo.push(async () => http?.close());
  return async (request) => {
    http ??= createHttp({ ...httpOptions(exchange), minTls: '1.2', headersTimeout: ALARM_TIMEOUT });
    const answer = await http.request(request);
    answer.discard();
    const retryAfter = answer.headers['retry-after'];
    return { status: answer.status, ...(retryAfter === undefined ? {} : { retryAfter }) };
  };
}

/** Each way is loaded where it is configured: the others cost nothing. */
async function channelOf(channel: AlarmChannelConfig, hostname: string, ask: Ask): Promise<Channel> {
  switch (channel.kind) {
    case 'webhook': {
      const { webhookChannel } = await import('./watch/alarm-webhook.ts');
      return webhookChannel(channel.name, channel.webhook.reveal(), channel.form, ask);
    }
    case 'command': {
      const { commandChannel } = await import('./watch/alarm-command.ts');
      return commandChannel(channel.name, channel.command, channel.environment);
    }
    case 'mail': {
      const { mailChannel } = await import('./watch/alarm-mail.ts');
      const { to, from, host, port } = channel.mail;
      const server = { host, port, name: hostname, tls: 'offered', timeout: ALARM_TIMEOUT } as const;
      return mailChannel(channel.name, async (mail) => {
        // Nodemailer is large: loaded for the first alarm.
        const { sendMail } = await import('./smtp/client.ts');
        return sendMail(server, { ...mail, from, to: [to] });
      });
    }
    default:
      return unreachable(channel);
  }
}

type Replace = (credential: CredentialConfig) => string | undefined;

interface LoginParts {
  readonly http: HttpWithLanes;
  readonly report: Report;
  readonly version: string;
  readonly undo: (() => Promise<unknown>)[];
}

/** How the gateway gets in, and how another credential takes the place of the one before. */
function loginAt(
  exchange: ExchangeConfig,
  { http, report, version, undo }: LoginParts,
): { readonly authorizer: Authorizer; readonly replace: Replace; readonly token?: TokenProvider } {
  const { credential } = exchange;
  if (credential.kind === 'account') {
    const { ewsUrl: url } = exchange;
    const userAgent = `smtp2exchange/${version}`;
    const account = { ...credential, password: credential.password.reveal() };
    const authorizer = accountAuthorizer({ http, url, userAgent, login: credential.login, account });
    const replace: Replace = (next) => {
      if (next.kind === 'account') authorizer.replace({ ...next, password: next.password.reveal() });
      return undefined;
    };
    return { authorizer, replace };
  }
  // The identity of the machine is had from the machine itself, never through a proxy.
  const local = credential.kind === 'managedIdentity' ? createHttp(httpOptions({ ...exchange, proxy: {} })) : http;
  if (local !== http) undo.push(() => local.close());
  const token = createTokenProvider({
    account: ROUTE,
    authority: exchange.authority,
    clientId: exchange.clientId,
    credential: revealed(credential),
    scope: exchange.scope,
    http: local,
    report,
  });
  undo.push(async () => token.close());
  const replace: Replace = (next) => (next.kind === 'account' ? undefined : token.replace(revealed(next)));
  return { authorizer: bearer({ http, token }), replace, token };
}

/** Reads the files of the credential anew, and tells what came of it. */
async function renew(exchange: ExchangeConfig, replace: Replace, report: Report): Promise<void> {
  const read = await rereadCredential(exchange.credential);
  if (read === undefined) return;
  const why = read.ok ? replace(read.value) : [read.problem, read.hint].filter((part) => part !== undefined).join('; ');
  const end = read.ok ? endOfCredential(replacing(exchange, read.value)) : undefined;
  report(
    why === undefined
      ? { event: 'credential.loaded', account: ROUTE, ...(end === undefined ? {} : { expiresAt: end.expiresAt }) }
      : { event: 'credential.failed', account: ROUTE, reason: why },
  );
}

/** exchange.expires is about the secret that stood in the file at the start. */
function replacing(exchange: ExchangeConfig, credential: CredentialConfig): ExchangeConfig {
  const { credential: before, expires, ...rest } = exchange;
  const isSame =
    before.kind === 'secret' && credential.kind === 'secret' && before.secret.reveal() === credential.secret.reveal();
  return { ...rest, credential, ...(isSame && expires !== undefined ? { expires } : {}) };
}

function revealed(credential: Exclude<CredentialConfig, { kind: 'account' }>): Credential {
  switch (credential.kind) {
    case 'secret':
      return { kind: 'secret', secret: credential.secret.reveal() };
    case 'certificate':
      return { kind: 'certificate', certificate: credential.certificate, privateKey: credential.privateKey.reveal() };
    case 'managedIdentity':
    case 'workloadIdentity':
      return credential;
    default:
      return unreachable(credential);
  }
}

/** Runs every undo, last first; one that fails does not keep the others from running. */
async function unwind(undo: (() => Promise<unknown>)[]): Promise<void> {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) {
    await step().catch(() => undefined);
  }
}

/** Makes what a source brings durable as an item of the route, tells it, and wakes the queue. */
function injectInto(spool: Spool, queue: Queue, report: Report): Inject {
  return {
    room: (size) => spool.room(size),
    begin() {
      const begun = performance.now();
      const draft = spool.begin();
      return {
        id: draft.id,
        write: (chunk) => draft.write(chunk),
        abort: () => draft.abort(),
        async commit({ envelope, origin, mailbox, messageId, headerSize, isImportant = false, repairs }: Arrival) {
          const items = await draft.commit([
            {
              route: ROUTE,
              mailbox: mailbox.toLowerCase(),
              envelope,
              origin,
              messageId,
              headerSize,
              isImportant,
              repairs,
            },
          ]);
          report({
            event: 'message.accepted',
            id: draft.id,
            origin,
            messageId,
            reversePath: envelope.reversePath,
            recipients: envelope.recipients.map(({ address }) => address),
            size: items[0]?.size ?? 0,
            items: items.map(({ id }) => id),
            repairs,
            seconds: (performance.now() - begun) / 1000,
          });
          for (const item of items) queue.arrived(item);
        },
      };
    },
  };
}

/** The files named, or one of our own making beside the spool. */
/** Who may do what, for all listeners together. */
function rulesOf(config: Config): Omit<SmtpParts, 'inject' | 'report'> {
  const { senders, recipients, users, clients, logins } = config;
  return {
    users: new Map(users.map((user) => [user.name, user.passwordHash.reveal()])),
    hostname: config.hostname,
    defaultFrom: senders.mailbox,
    policy: createPolicy(config),
    senders: senderMap(senders),
    rate: clientRates({ users, clients }),
    logins: loginGuard(logins),
    completeDomain: senders.domain,
    headerOnly: recipients.headerOnly,
    nullReversePath: senders.nullReversePath,
  };
}

async function certificateOf(
  { name, tls, minTls, certificate }: ListenerConfig,
  { spool, hostname }: Config,
  report: Report,
): Promise<CertificateSource | undefined> {
  if (tls === 'none') return undefined;
  const files =
    certificate === undefined
      ? { generateIn: dirname(spool.sqlite), hostname }
      : {
          certFile: certificate.certFile,
          keyFile: certificate.keyFile,
          ...(certificate.passphrase === undefined ? {} : { passphrase: certificate.passphrase.reveal() }),
        };
  try {
    return await certificateSource(files, { report, listener: name, minTls });
  } catch (error) {
    throw new StartError('configuration', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function listenerOptions(
  { certificate: _files, ...listener }: ListenerConfig,
  certificate: CertificateSource | undefined,
): ListenerOptions {
  return { ...listener, ...(certificate === undefined ? {} : { certificate }) };
}

function asStartError(error: unknown): unknown {
  if (error instanceof SpoolError) {
    const kinds = {
      full: 'temporary',
      readOnly: 'configuration',
      damaged: 'failed',
      locked: 'temporary',
      newer: 'configuration',
      closed: 'failed',
      io: 'temporary',
    } as const;
    return new StartError(kinds[error.trouble], error.message, { cause: error });
  }
  if (!(error instanceof Error)) return error;
  const code = codeOf(error) ?? codeOf(error.cause);
  switch (code) {
    case 'EADDRINUSE':
      return new StartError('temporary', error.message, { cause: error });
    case 'EACCES':
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return new StartError('configuration', error.message, { cause: error });
    default:
      return error;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
