/** The network between a gateway and its database (or another server), and all that can become of it: a proxy on loopback that breaks to order. */
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  /** Octets that may still come from the near end. */
  left: number;
  /** What came beyond. */
  readonly held: Buffer[];
}

/**
 * passes: what comes goes on. swallows: everything is taken and nothing goes on, in either direction, as by a firewall
 * that drops; also what connects meanwhile. refuses: connections are closed as they are made.
 */
export type ProxyMode = 'passes' | 'swallows' | 'refuses';

export class PostgresProxy {
  mode: ProxyMode = 'passes';
  /** Milliseconds that each piece takes, in either direction. */
  delay = 0;
  /** Connections made since the start. */
  connections = 0;
  /** Octets that each new connection carries forward; then it is not read from any more, until release(). */
  limit = Infinity;
  /** Connections that have come to their limit. */
  stalled = 0;
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

  #accept(near: Socket, port: number): void {
    this.connections++;
    near.on('error', () => {});
    if (this.mode === 'refuses') return void near.resetAndDestroy();
    const far = connect(port, '127.0.0.1');
    const pair = { near, far, left: this.limit, held: [] as Buffer[] };
    this.#pairs.add(pair);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      to.setNoDelay(true);
      from.on('error', () => {});
      from.on('data', (data: Buffer) => void this.#pass(pair, from === near, data, to));
      from.on('close', () => {
        this.#pairs.delete(pair);
        // Of an end that nobody could have heard of, nobody hears.
        if (this.mode !== 'swallows') setTimeout(() => to.destroy(), this.delay);
      });
    }
  }

  async #pass(pair: Pair, isRequest: boolean, data: Buffer, to: Socket): Promise<void> {
    if (this.mode === 'swallows') return;
    if (isRequest) {
      pair.left -= data.length;
      if (pair.left < 0) {
        if (pair.held.push(data) === 1) this.stalled++;
        return void pair.near.pause();
      }
    }
    const mark = isRequest ? this.#marks.find(({ text }) => data.includes(text)) : undefined;
    if (mark !== undefined) this.#marks.splice(this.#marks.indexOf(mark), 1);
    const send = (): void => {
      if (this.mode !== 'swallows' && !to.destroyed) to.write(data);
    };
    if (this.delay > 0) setTimeout(send, this.delay);
    else send();
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
      pair.left = Infinity;
      for (const data of pair.held.splice(0)) pair.far.write(data);
      pair.near.resume();
    }
  }

  /** Cuts what is connected, both ways. */
  cut(): void {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
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
    this.mode = 'refuses';
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
