/** The network between a gateway and its database (or another server), and all that can become of it: a proxy on loopback that breaks to order. */
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  /** Octets that may still come from the near end. */
  left: number;
  /** What waits: from the near end to the far one, and back. */
  readonly held: { readonly data: Buffer; readonly to: Socket }[];
  /** Something of it was lost: nobody could make sense of the rest. */
  isBroken: boolean;
}

/**
 * passes: what comes goes on. holds: nothing goes on in either direction, but comes when it passes again, as TCP has it after
 * a short loss of the network. swallows: the same, but what was lost is lost, and connections that have lost something end
 * when it passes again, as at a firewall that has forgotten them. refuses: connections are ended as they are made.
 */
export type ProxyMode = 'passes' | 'holds' | 'swallows' | 'refuses';

export class PostgresProxy {
  /** Milliseconds that each piece takes, in either direction. */
  delay = 0;
  /** Connections made since the start. */
  connections = 0;
  /** Connections that have come to their limit. */
  stalled = 0;
  #limit = Infinity;
  #mode: ProxyMode = 'passes';
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #marks: { text: Buffer; reached: () => void; isCut: boolean }[] = [];

  private constructor(target: () => number) {
    this.#server = createServer({ allowHalfOpen: false }, (near) => this.#accept(near, target()));
  }

  /** @param target the port it leads to; a function is asked for each connection */
  static async start(target: number | (() => number)): Promise<PostgresProxy> {
    const proxy = new PostgresProxy(typeof target === 'number' ? () => target : target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get mode(): ProxyMode {
    return this.#mode;
  }

  set mode(mode: ProxyMode) {
    this.#mode = mode;
    if (mode !== 'passes') return;
    for (const pair of this.#pairs) {
      if (pair.isBroken) end(pair);
      else if (pair.left >= 0) flush(pair);
      // What it had sent before it gave up has come all the same.
      if (pair.near.destroyed) pair.far.end();
      if (pair.far.destroyed) pair.near.end();
    }
  }

  /** Octets that each connection carries forward from now on; then it is not read from any more, until release(). */
  set limit(octets: number) {
    this.#limit = octets;
    for (const pair of this.#pairs) pair.left = octets;
  }

  get #isOpen(): boolean {
    return this.#mode === 'passes';
  }

  #accept(near: Socket, port: number): void {
    this.connections++;
    near.on('error', () => {});
    if (this.#mode === 'refuses') return void near.resetAndDestroy();
    const far = connect(port, '127.0.0.1');
    const pair: Pair = { near, far, left: this.#limit, held: [], isBroken: false };
    this.#pairs.add(pair);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      to.setNoDelay(true);
      from.on('error', () => {});
      from.on('data', (data: Buffer) => void this.#pass(pair, from === near, data, to));
      from.on('close', () => {
        // Of an end that nobody could have heard of, nobody hears, until the network is back.
        if (this.#isOpen || this.#mode === 'refuses') setTimeout(() => to.destroy(), this.delay);
        if (near.destroyed && far.destroyed) this.#pairs.delete(pair);
      });
    }
  }

  #pass(pair: Pair, isRequest: boolean, data: Buffer, to: Socket): void {
    if (isRequest && this.#isOpen) {
      pair.left -= data.length;
      if (pair.left < 0) {
        if (pair.held.push({ data, to }) === 1) this.stalled++;
        return void pair.near.pause();
      }
    }
    if (!this.#isOpen) {
      if (this.#mode === 'holds') pair.held.push({ data, to });
      else pair.isBroken = true;
      return;
    }
    const mark = isRequest ? this.#marks.find(({ text }) => data.includes(text)) : undefined;
    if (mark !== undefined) this.#marks.splice(this.#marks.indexOf(mark), 1);
    if (this.delay > 0) setTimeout(() => write(to, data), this.delay);
    else write(to, data);
    if (mark === undefined) return;
    mark.reached();
    if (!mark.isCut) return;
    // The server has the request whole, and its answer finds nobody.
    pair.far.removeAllListeners('data');
    pair.far.resume();
    setTimeout(() => pair.near.resetAndDestroy(), 50);
  }

  /** Lets all go on that have come to their limit, and those to come. */
  release(): void {
    this.limit = Infinity;
    this.stalled = 0;
    for (const pair of this.#pairs) {
      flush(pair);
      pair.near.resume();
    }
  }

  /** Cuts what is connected, both ways. */
  cut(): void {
    for (const pair of this.#pairs) end(pair);
  }

  /**
   * Lets the next request that holds this text through, and cuts its connection before the answer comes back.
   * @returns when it has gone through
   */
  async cutAfter(text: string): Promise<void> {
    return new Promise((reached) => this.#marks.push({ text: Buffer.from(text), reached, isCut: true }));
  }

  /** @returns when the next request that holds this text has gone through */
  async passed(text: string): Promise<void> {
    return new Promise((reached) => this.#marks.push({ text: Buffer.from(text), reached, isCut: false }));
  }

  async close(): Promise<void> {
    this.#mode = 'refuses';
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

function write(to: Socket, data: Buffer): void {
  if (!to.destroyed) to.write(data);
}

function flush({ held }: Pair): void {
  for (const { data, to } of held.splice(0)) write(to, data);
}

function end({ near, far }: Pair): void {
  near.resetAndDestroy();
  far.resetAndDestroy();
}
