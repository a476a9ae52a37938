/**
 * The log: one JSON line an event, and no line without one. The only file that knows pino.
 *
 * Promises: never throws, never waits. Where the reader of the log is too slow, at most 8 MB wait for it; what comes
 * then is given up and counted, and the event `log.dropped` says how much once there is room. A reader that is gone
 * (EPIPE) ends the log, not the process; a full disk costs the lines that found no room.
 */
import { pino } from 'pino';
import type { Event, Report } from '../mail/event.ts';
import type { Level } from './line-form.ts';
import { lineOf } from './line.ts';
import type { AddressMode } from './redact.ts';
import { createRedactor } from './redact.ts';

export interface LogOptions {
  /** The least important level that is written. */
  readonly level: Level;
  readonly addresses: AddressMode;
  /** Default standard output. */
  readonly destination?: NodeJS.WritableStream;
  /** Where the log reports its own trouble, so that it is counted too; default: to itself. */
  readonly report?: Report;
  readonly now?: () => number;
}

export interface Log {
  readonly report: Report;
  /** From the next line on. */
  use(form: Pick<LogOptions, 'level' | 'addresses'>): void;
  /** Resolves when everything is written, or after two seconds. Never rejects. */
  flush(): Promise<void>;
}

/** Octets that may wait for a slow reader. */
const WAITING = 8_000_000;
/** Milliseconds. */
const FLUSH_LIMIT = 2_000;

export function createLog(options: LogOptions): Log {
  const now = options.now ?? Date.now;
  let redact = createRedactor(options.addresses);
  const outlet = new Outlet(options.destination ?? process.stdout);
  const logger = pino(
    {
      level: options.level,
      base: null,
      // The time goes first: pino puts its own level there, so that is left empty and comes as a field.
      timestamp: () => `"time":"${new Date(now()).toISOString()}"`,
      formatters: { level: () => ({}) },
    },
    outlet,
  );

  const write = (event: Event): void => {
    const { level, message, fields } = lineOf(event, redact, now());
    const { id, messageId, ...rest } = fields;
    logger[level]({ level, event: event.event, id, messageId, message, ...rest });
  };
  const report = (event: Event): void => {
    const lines = outlet.takeDropped();
    if (lines > 0) (options.report ?? write)({ event: 'log.dropped', lines });
    write(event);
  };
  return {
    report,
    use({ level, addresses }) {
      logger.level = level;
      redact = createRedactor(addresses);
    },
    flush: () => outlet.flush(),
  };
}

/** A destination that takes lines while there is room and never fails. */
class Outlet {
  readonly #stream: NodeJS.WritableStream;
  #dropped = 0;
  /** Of this turn of the event loop; they go out together. */
  #lines = '';
  #count = 0;
  #writing: NodeJS.Immediate | undefined;
  #gone = false;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // After any other, a full disk for one, Node.js keeps standard output usable: there may be room again later.
      if (error.code === 'EPIPE') this.#gone = true;
    });
  }

  write(line: string): void {
    if (this.#gone) return;
    if (!this.#hasRoom()) {
      this.#dropped++;
      return;
    }
    this.#lines += line;
    this.#count++;
    this.#writing ??= setImmediate(() => this.#put());
  }

  #put(): void {
    clearImmediate(this.#writing);
    this.#writing = undefined;
    const [lines, count] = [this.#lines, this.#count];
    this.#lines = '';
    this.#count = 0;
    if (count === 0 || this.#gone || !this.#stream.writable) return;
    this.#stream.write(lines, (error) => {
      if (error) this.#dropped += count;
    });
  }

  /** Lines given up since the last call, once there is room to say so. */
  takeDropped(): number {
    if (this.#dropped === 0 || this.#gone || !this.#hasRoom()) return 0;
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  async flush(): Promise<void> {
    this.#put();
    if (this.#gone || !this.#stream.writable) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const limit = setTimeout(resolve, FLUSH_LIMIT);
    // Called with an error, too, if the stream fails.
    this.#stream.write('', () => resolve());
    await promise;
    clearTimeout(limit);
  }

  #hasRoom(): boolean {
    if (!this.#stream.writable) return false;
    const waiting = 'writableLength' in this.#stream ? Number(this.#stream.writableLength) : 0;
    return waiting + this.#lines.length < WAITING;
  }
}
