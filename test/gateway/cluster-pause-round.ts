/**
 * A gateway that stands still, as a machine does whose hypervisor moves it, longer than its lease: with attempts under way
 * in each of their moments, and in the midst of a message that it receives. Another one takes over and delivers; when the
 * first goes on, it sends nothing more.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { PostgresProxy } from '../spool/postgres-proxy.ts';
import type { PostgresServer } from '../spool/postgres-server.ts';
import { GatewayCluster, mailOf, post, until } from './cluster.ts';
import { RawSmtp } from './raw-smtp.ts';

/** Of each round, by the sending mailbox. */
const MOMENTS = {
  early: 'before its request',
  body: 'in the midst of its body',
  sent: 'when it was sent, before the answer',
  draft: 'when its draft was saved, before the answer',
  used: 'when its draft was sent, before the answer',
  data: 'in the midst of DATA',
} as const;
type Moment = keyof typeof MOMENTS;
const DOMAIN = 'contoso.com';
const TO = `y@${DOMAIN}`;
/** More than the buffers of both ends of a connection take. */
const LARGE = 24_000_000;
/** Octets of it that get through. */
const THROUGH = 300_000;
const SLOW = 4_000;

export interface PauseOutcome {
  /** What is wrong, in sentences; none is good. */
  readonly faults: readonly string[];
  /** The reply to the message that was being received. */
  readonly reply: string;
  /** Attempts that the first gateway has given up because their lease was over. */
  readonly lost: number;
}

export class PauseSite {
  readonly #sandbox: Sandbox;
  readonly #proxy: PostgresProxy;
  readonly #cluster: GatewayCluster;
  #rounds = 0;

  private constructor(sandbox: Sandbox, proxy: PostgresProxy, cluster: GatewayCluster) {
    this.#sandbox = sandbox;
    this.#proxy = proxy;
    this.#cluster = cluster;
  }

  static async start(server: PostgresServer): Promise<PauseSite> {
    const names = [...Object.keys(MOMENTS), 'after', 'y'].map((name) => `${name}@${DOMAIN}`);
    const sandbox = await startSandbox({ mailboxes: names.map((address) => ({ address })) });
    const proxy = await PostgresProxy.start(Number(new URL(sandbox.ewsUrl).port));
    const cluster = new GatewayCluster({
      sandbox,
      mailboxes: names,
      url: await server.freshUrl(),
      // Large ones in one step too.
      exchange: '  twoStep: { above: 60MB }',
    });
    return new PauseSite(sandbox, proxy, cluster);
  }

  get bugs(): number {
    return this.#cluster.bugs.length;
  }

  /** @param milliseconds that the gateway stands still */
  async round(milliseconds: number): Promise<PauseOutcome> {
    const round = ++this.#rounds;
    const sandbox = this.#sandbox;
    const through = new URL(sandbox.ewsUrl);
    through.port = String(this.#proxy.port);
    const first = this.#cluster.start('first', { sandbox: { ...sandbox, ewsUrl: through.href } });
    const second = this.#cluster.start('second');
    const [port] = await Promise.all([first.ready(), second.ready()]);
    const idOf = (moment: string): string => `<${moment}.${round}@pause.test>`;
    const mail = (moment: Moment | 'after') => ({ from: `${moment}@${DOMAIN}`, to: TO, id: idOf(moment) });
    const copies = (moment: string): number =>
      sandbox.arrived().filter(({ messageId }) => messageId === idOf(moment)).length;
    const drafts = (): number => sandbox.mailbox(`draft@${DOMAIN}`).folder('drafts')?.items.length ?? 0;

    // Only the first one works until it is stopped.
    second.child.kill('SIGSTOP');
    for (const [moment, operation] of [
      ['sent', 'CreateItem'],
      ['draft', 'CreateItem'],
      ['used', 'SendItem'],
    ] as const)
      // prettier-ignore
      sandbox.fault({
        when: { operation, mailbox: `${moment}@${DOMAIN}`, count: 1 },
        does: { slow: { afterActing: SLOW + milliseconds } },
      });
    // The second gateway takes its time, so that what is sent is still there when the first one goes on.
    for (const moment of ['body', 'early'] as const)
      sandbox.fault({
        when: { operation: 'CreateItem', mailbox: `${moment}@${DOMAIN}`, count: 1 },
        does: { slow: { beforeActing: SLOW } },
      });
    await post(port, mail('sent'));
    await post(port, { ...mail('draft'), isPrecious: true });
    await post(port, { ...mail('used'), isPrecious: true });
    await until('what is slow has acted', () => copies('sent') === 1 && drafts() === 1 && copies('used') === 1);
    this.#proxy.limit = THROUGH;
    await post(port, { ...mail('body'), size: LARGE });
    await until('the body is under way', () => this.#proxy.stalled === 1);
    // Its request is refused, and the new token takes its time.
    sandbox.identity.revokeAll();
    sandbox.identity.faults.push({ delayMs: milliseconds + 500 });
    await post(port, mail('early'));
    await until('the token is asked for', () => sandbox.identity.faults.pending === 0);
    const client = await RawSmtp.open(port);
    await client.say(`MAIL FROM:<data@${DOMAIN}>\r\n`, '250');
    await client.say(`RCPT TO:<${TO}>\r\n`, '250');
    await client.say('DATA\r\n', '354');
    const text = mailOf({ ...mail('data'), size: 1_500_000 });
    await client.write(text.slice(0, 1_000_000));
    await pause(200);

    first.child.kill('SIGSTOP');
    second.child.kill('SIGCONT');
    await pause(milliseconds);
    first.child.kill('SIGCONT');
    this.#proxy.release();
    await client.write(`${text.slice(1_000_000)}.\r\n`);
    const reply = await client.reply();
    const faults: string[] = [];
    const all = Object.keys(MOMENTS).filter((moment) => moment !== 'data' || reply.startsWith('250')) as Moment[];
    const hasAll = (): boolean => all.every((moment) => copies(moment) > 0);
    await until('all is delivered', hasAll).catch((error: Error) => faults.push(error.message));
    // What the first one might still do it does now.
    await pause(1_500);
    for (const moment of Object.keys(MOMENTS) as Moment[]) {
      const expected = all.includes(moment) ? 1 : 0;
      if (copies(moment) !== expected) faults.push(`${MOMENTS[moment]}: ${copies(moment)} copies, not ${expected}`);
    }
    if (!/^(250|451) /.test(reply)) faults.push(`the message being received was answered ${reply}`);
    second.child.kill('SIGSTOP');
    await post(port, mail('after'));
    await until('the first gateway delivers again', () => copies('after') === 1).catch((error: Error) =>
      faults.push(error.message),
    );
    second.child.kill('SIGCONT');
    if (drafts() > 0) faults.push(`${drafts()} drafts are left`);
    sandbox.clearFaults();
    const ended = await Promise.all([first.stop(), second.stop()]);
    for (const { code } of ended) if (code !== 0) faults.push(`a gateway ended with ${code}`);
    return { faults, reply, lost: first.lines.filter(({ event }) => event === 'lease.lost').length };
  }

  async close(): Promise<void> {
    await this.#cluster.close();
    await this.#proxy.close();
    await this.#sandbox.close();
  }
}
