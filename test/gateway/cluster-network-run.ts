/**
 * The network between one of two gateways and their database, lost for a while: without a word (what is sent is
 * swallowed, or held back for so long), or with connections cut and refused. Clients of both go on sending all the time.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { PostgresProxy } from '../spool/postgres-proxy.ts';
import type { PostgresServer } from '../spool/postgres-server.ts';
import { GatewayCluster, mailOf, until } from './cluster.ts';
import { RawSmtp } from './raw-smtp.ts';

export interface NetworkPlan {
  readonly mode: 'holds' | 'swallows' | 'refuses';
  /** Milliseconds. */
  readonly length: number;
}

export interface NetworkOutcome {
  readonly faults: readonly string[];
  /** Milliseconds: the longest wait of a client of the gateway that was cut off. */
  readonly longest: number;
  /** Milliseconds from the network's return until it accepted again. */
  readonly recovered: number;
  /** Messages accepted, by the gateway that was cut off before, while and after it was, and by the other one meanwhile. */
  readonly accepted: { readonly before: number; readonly cut: number; readonly after: number; readonly other: number };
  readonly refused: number;
  /** Refused, and delivered all the same. */
  readonly kept: number;
  /** Milliseconds for which nothing was delivered, the longest while the network was lost. */
  readonly still: number;
}

/** Milliseconds without an answer, after which the gateway gives up a connection to its database. */
const SILENCE = 10_000;
/** What a message may wait for its database, once nobody knows whether it exists. */
const PATIENCE = 30_000;
/** Within which it has to find out, and to accept again. */
const SOON = 5_000;
const CLIENTS = 3;
const MAILBOXES = Array.from({ length: 6 }, (_, n) => `n${n}@contoso.com`);
const TO = 'y@contoso.com';

/** One answer to a client. */
interface Answer {
  readonly gateway: 'cut' | 'other';
  readonly id: string;
  readonly begun: number;
  readonly at: number;
  /** Absent: the connection ended. */
  readonly reply?: string;
}

export async function networkRun(server: PostgresServer, { mode, length }: NetworkPlan): Promise<NetworkOutcome> {
  const sandbox = await startSandbox({ mailboxes: [...MAILBOXES, TO].map((address) => ({ address })) });
  const proxy = await PostgresProxy.start(server.port);
  const database = await server.database();
  const cluster = new GatewayCluster({ sandbox, mailboxes: MAILBOXES, url: server.url(database) });
  const answers: Answer[] = [];
  let sent = 0;
  const over = new AbortController();
  const client = async (gateway: Answer['gateway'], port: number): Promise<void> => {
    let smtp: RawSmtp | undefined;
    while (!over.signal.aborted) {
      const id = `<${++sent}@network.test>`;
      const from = MAILBOXES[sent % MAILBOXES.length] ?? '';
      const begun = Date.now();
      const answered = (reply?: string): void =>
        void answers.push({ gateway, id, begun, at: Date.now(), ...(reply === undefined ? {} : { reply }) });
      try {
        smtp ??= await RawSmtp.open(port);
        // Some are large enough to be written down in pieces while they come in.
        const size = sent % 10 === 0 ? 600_000 : 2_000;
        answered(await smtp.send(from, [TO], mailOf({ from, to: TO, id, size })));
      } catch (error) {
        const reply = / was answered (.*)$/s.exec((error as Error).message)?.[1];
        answered(reply);
        smtp?.end();
        smtp = undefined;
        await pause(100);
      }
      await pause(20);
    }
    smtp?.end();
  };
  const faults: string[] = [];
  try {
    const cut = cluster.start('cut', {
      url: server.url(database, { ports: [proxy.port], parameters: 'connect_timeout=2' }),
    });
    const other = cluster.start('other');
    const [cutPort, otherPort] = await Promise.all([cut.ready(), other.ready()]);
    const clients = [
      ...Array.from({ length: CLIENTS }, () => client('cut', cutPort)),
      ...Array.from({ length: 2 }, () => client('other', otherPort)),
    ];
    await pause(1_500);
    const lostAt = Date.now();
    proxy.mode = mode;
    if (mode === 'refuses') proxy.cut();
    await pause(length);
    proxy.mode = 'passes';
    const backAt = Date.now();
    const isAccepted = ({ gateway, reply = '' }: Answer): boolean => gateway === 'cut' && reply.startsWith('250');
    await until(
      'the gateway accepts again',
      () => answers.some((one) => isAccepted(one) && one.begun > backAt),
      60,
    ).catch((error: Error) => faults.push(error.message));
    const recovered = (answers.find((one) => isAccepted(one) && one.begun > backAt)?.at ?? Infinity) - backAt;
    await pause(1_500);
    over.abort();
    await Promise.all(clients);

    const of = (gateway: Answer['gateway'], from: number, to: number): number =>
      answers.filter((one) => one.gateway === gateway && one.reply?.startsWith('250') && one.at > from && one.at <= to)
        .length;
    const accepted = {
      before: of('cut', 0, lostAt),
      cut: of('cut', lostAt + SOON + (mode === 'refuses' ? 0 : SILENCE), backAt),
      after: of('cut', backAt, Infinity),
      other: of('other', lostAt, backAt),
    };
    const refused = answers.filter(({ gateway, reply }) => gateway === 'cut' && reply?.startsWith('451')).length;
    const longest = Math.max(...answers.filter(({ gateway }) => gateway === 'cut').map(({ begun, at }) => at - begun));
    if (accepted.cut > 0) faults.push(`${accepted.cut} messages were accepted without a database`);
    const isNoticed = mode === 'refuses' || length > SILENCE;
    // All of its clients may have been in the midst of a commit, whose outcome is waited for.
    const isWaited = length < PATIENCE && longest > length / 2;
    if (accepted.before === 0 || (isNoticed && refused === 0 && !isWaited))
      faults.push('the gateway that was cut off had nothing to do');
    if (accepted.other < length / 1_000) faults.push(`the other gateway accepted only ${accepted.other} messages`);
    if (longest > SILENCE + PATIENCE + SOON) faults.push(`a client waited ${longest} ms`);
    if (recovered > SOON) faults.push(`accepted again only ${recovered} ms after the network was back`);
    for (const { reply } of answers)
      if (reply !== undefined && !/^(250|45[12])/.test(reply)) faults.push(`a client was answered ${reply}`);
    const ended = answers.filter(({ reply }) => reply === undefined).length;
    if (ended > 0) faults.push(`${ended} connections were ended`);
    // Once the server has ended what the lost one had begun, and its lease is over, all goes on.
    const moments = [lostAt, ...sandbox.arrived().map(({ at }) => at), backAt].filter(
      (at) => at >= lostAt && at <= backAt,
    );
    const pauses = moments.toSorted((a, b) => a - b).map((at, n, all) => at - (all[n - 1] ?? at));
    const still = Math.max(...pauses);
    if (still > SOON) faults.push(`nothing was delivered for ${still} ms`);
    const otherWaited = Math.max(
      ...answers.filter(({ gateway }) => gateway === 'other').map(({ begun, at }) => at - begun),
    );
    if (otherWaited > SOON) faults.push(`a client of the other gateway waited ${otherWaited} ms`);
    const duringCut = sandbox.arrived().filter(({ at }) => at > lostAt && at <= backAt).length;
    if (duringCut < length / 1_000) faults.push(`only ${duringCut} messages were delivered while the network was lost`);

    const acknowledged = answers.filter(({ reply }) => reply?.startsWith('250')).map(({ id }) => id);
    const copies = (): Map<string, number> =>
      sandbox
        .arrived()
        .reduce((all, { messageId }) => all.set(messageId, (all.get(messageId) ?? 0) + 1), new Map<string, number>());
    const missing = (): string[] => acknowledged.filter((id) => !copies().has(id));
    await until('all that was acknowledged is delivered', () => missing().length === 0, 60).catch(() =>
      faults.push(`lost: ${missing().slice(0, 5).join(', ')}`),
    );
    const twice = [...copies()].filter(([, count]) => count > 1);
    if (twice.length > 0)
      faults.push(
        `delivered twice: ${twice
          .map(([id]) => id)
          .slice(0, 5)
          .join(', ')}`,
      );
    const kept = answers.filter(({ id, reply }) => reply?.startsWith('451') && copies().has(id)).length;
    // What was committed without an answer, and sent by the other gateway before this one had to give up to find out.
    if (kept > (length > PATIENCE ? CLIENTS : 0)) faults.push(`answered 451, yet delivered: ${kept}`);
    for (const gateway of [cut, other]) {
      const { code } = await gateway.stop();
      if (code !== 0) faults.push(`a gateway ended with ${code}: ${gateway.errors.join('; ')}`);
    }
    if (cluster.bugs.length > 0) faults.push(JSON.stringify(cluster.bugs[0]));
    return { faults, longest, recovered, accepted, refused, kept, still };
  } finally {
    over.abort();
    await cluster.close();
    await proxy.close();
    await sandbox.close();
  }
}
