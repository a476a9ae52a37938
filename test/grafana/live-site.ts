/**
 * A gateway as a process, a sandbox of its own in front of it, and traffic: mail by both listeners, mail to be picked up.
 * Its waits are as short as the settings allow, for the shortened rules.
 */
import { once } from 'node:events';
import { mkdirSync, renameSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { hashPassword } from '../../src/smtp/password.ts';
import { makeCertificate } from '../../src/tls/selfsigned.ts';
import { configText } from '../gateway/config-text.ts';
import { ALICE, FAX, mail } from '../gateway/pickup-site.ts';
import type { Folder } from '../gateway/process.ts';
import { folder, GatewayProcess, root } from '../gateway/process.ts';
import { RawSmtp } from '../gateway/raw-smtp.ts';

export const PBX = 'pbx@contoso.com';
export const FROM = 'notifications@contoso.com';
const DAY = 86_400_000;
const PASSWORD = 'the right one';
const HASH = await hashPassword(PASSWORD);

export interface SiteOptions {
  readonly name: string;
  /** Lines of `exchange`, indented by two. */
  readonly exchange?: string;
  /** Further keys of the configuration. */
  readonly more?: string;
  /** Further entries of `pickup`, indented by two. */
  readonly pickups?: string;
  /** Mailboxes that mail comes to, beside the one that is picked up from everywhere. */
  readonly receives?: readonly string[];
  readonly bounces?: boolean;
  /** More of `retry`, with a comma before it. */
  readonly retry?: string;
  /** Days that the listener's certificate is good, default 90. */
  readonly certificateDays?: number;
  readonly sandbox?: Partial<SandboxOptions>;
  /** Words for Node.js before the program. */
  readonly node?: readonly string[];
  /** Seconds between scrapes. */
  readonly interval?: number;
}

export class Site {
  readonly name: string;
  readonly sandbox: Sandbox;
  readonly place: Folder = folder();
  readonly handedOver: string;
  /** Of the console; stays when it is started anew. */
  readonly port: number;
  /** No mail is sent while it is false. */
  isBusy = true;
  options: SiteOptions;
  #gateway: GatewayProcess | undefined;
  #ending = false;
  #traffic: Promise<unknown> = Promise.resolve();
  #sent = 0;

  private constructor(options: SiteOptions, sandbox: Sandbox, port: number) {
    this.options = options;
    this.name = options.name;
    this.sandbox = sandbox;
    this.port = port;
    this.handedOver = join(this.place.path, 'handed-over');
  }

  static async start(options: SiteOptions): Promise<Site> {
    const mailboxes = [FROM, FAX, PBX, ALICE].map((address) => ({ address }));
    const site = new Site(options, await startSandbox({ mailboxes, ...options.sandbox }), await freePort());
    mkdirSync(join(site.place.path, 'data'));
    await site.certify(options.certificateDays ?? 90);
    await site.up();
    site.#traffic = Promise.all([site.#sending(), site.#receiving()]);
    return site;
  }

  get gateway(): GatewayProcess {
    if (this.#gateway === undefined) throw new Error(`${this.name} is not up`);
    return this.#gateway;
  }

  get isUp(): boolean {
    return this.#gateway !== undefined;
  }

  get spool(): string {
    return join(this.place.path, 'data/spool.db');
  }

  get configFile(): string {
    return join(this.place.path, 'config.yaml');
  }

  /** Starts the gateway, as its options are now. */
  async up(): Promise<void> {
    this.place.write('config.yaml', this.#text());
    const main = [...(this.options.node ?? []), join(root, 'src/main.ts')];
    this.#gateway = new GatewayProcess(this.configFile, { SECRET: this.sandbox.clientSecret }, [
      process.execPath,
      ...main,
    ]);
    await this.#gateway.ready();
  }

  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const gateway = this.#gateway;
    this.#gateway = undefined;
    await gateway?.stop(signal);
  }

  /** Tells the gateway that its configuration may be mended. */
  hangUp(): void {
    this.gateway.child.kill('SIGHUP');
  }

  /** The listener's certificate is replaced by a good one. */
  async certify(days: number): Promise<void> {
    const { cert, key } = await makeCertificate({
      commonName: 'gateway.test',
      keyType: 'ec',
      use: 'server',
      names: ['gateway.test'],
      notBefore: new Date(Date.now() - DAY),
      notAfter: new Date(Date.now() + days * DAY),
    });
    for (const [name, text] of [['key.pem', key] as const, ['cert.pem', cert] as const]) this.replace(name, text);
  }

  /** Puts a file in the place of another at once. */
  replace(name: string, text: string): void {
    renameSync(this.place.write(`${name}.new`, text), join(this.place.path, name));
  }

  async smtp(listener: 'lan' | 'submission' = 'lan'): Promise<RawSmtp> {
    const opened = await this.gateway.line((line) => line.event === 'listener.open' && line['listener'] === listener);
    return await RawSmtp.open(Number(opened['port']));
  }

  /** One message by a session of its own. @returns the last reply */
  async send(listener: 'lan' | 'submission' = 'lan'): Promise<string> {
    const smtp = await this.smtp(listener);
    try {
      if (listener === 'submission') await smtp.say(`AUTH PLAIN ${login(PASSWORD)}\r\n`, '235');
      const id = `<${++this.#sent}@${this.name}.test>`;
      const data = `From: ${FROM}\r\nTo: ${ALICE}\r\nMessage-ID: ${id}\r\nSubject: ${this.#sent}\r\n\r\nthe body\r\n`;
      return await smtp.send(FROM, [ALICE], data);
    } finally {
      smtp.end();
    }
  }

  async stop(): Promise<void> {
    this.#ending = true;
    await this.#traffic;
    await this.down('SIGKILL');
    await this.sandbox.close();
    this.place.remove();
  }

  /** What fails is what the site is for. */
  async #sending(): Promise<void> {
    for (let n = 0; !this.#ending; n++) {
      if (this.isBusy) await this.send(n % 3 === 2 ? 'submission' : 'lan').catch(() => undefined);
      await pause(700);
    }
  }

  async #receiving(): Promise<void> {
    for (let n = 0; !this.#ending; n++) {
      for (const to of this.isBusy ? [FAX, ...(this.options.receives ?? [])] : [])
        await this.sandbox.receive(to, { mime: mail({ id: `${this.name}-${n}`, to }) });
      await pause(1_000);
    }
  }

  #text(): string {
    const { exchange = '', more = '', pickups = '', bounces = true, retry = '' } = this.options;
    const listener = 'address: 127.0.0.1, port: 0, maxErrors: 1000';
    const text = configText({
      sandbox: this.sandbox,
      caFile: this.place.write('ca.pem', this.sandbox.ca),
      listeners: `
  - { name: lan, ${listener}, tls: none }
  - { name: submission, ${listener}, tls: optional, auth: required, allowInsecureAuth: true, certificate: { certFile: cert.pem, keyFile: key.pem } }`,
      exchange: `  graphUrl: ${this.sandbox.graphUrl}\n${exchange}`,
      more: `
users: [{ name: pbx, passwordHash: "${HASH}" }]
recipients: { deny: ['@denied.test'] }
logins: { failures: 30, within: 1m, ban: 5s, delay: 0ms }
retry: { intervals: [1s], verifyAfter: 1s${retry} }
bounces: { send: ${bounces} }
pacing: { perMailbox: { concurrency: 4, perMinute: unlimited } }
${more.includes('spool:') ? '' : `spool: { sqlite: ${this.spool} }`}
pickup:
  - mailbox: ${FAX}
    name: fax
    interval: 1s
    deliver: { folder: { path: ${this.handedOver} } }
${pickups}
${more}`,
    });
    return text.replace(
      'console: { address: 127.0.0.1, port: 0 }',
      `console: { address: 127.0.0.1, port: ${this.port} }`,
    );
  }
}

/** The argument of AUTH PLAIN. */
export function login(password: string): string {
  return Buffer.from(`\0pbx\0${password}`).toString('base64');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
