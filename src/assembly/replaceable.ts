/**
 * A transport in whose place another one is put while attempts are under way: they end with the one they began with,
 * which is closed after the last of them. Answers and fails as the transports behind it.
 */
import type { Delayed } from '../mail/status.ts';
import { NO_ROUTE } from '../mail/status.ts';
import type { Transport } from '../mail/transport.ts';

export interface Replaceable extends Transport {
  /** @param close ends what is put in the place of the one before */
  replace(next: Transport, close: () => Promise<void>): void;
  /** No attempt comes any more: closes once the last has ended. */
  retire(): void;
}

/** For an attempt that comes between two steps of its own after the last had ended. */
const GONE: Delayed = {
  outcome: 'delayed',
  code: '4.3.5',
  reach: 'message',
  cause: NO_ROUTE,
  text: 'The way out of this message is no longer configured',
};

interface Turn {
  readonly transport: Transport;
  readonly close: () => Promise<void>;
  attempts: number;
  isOver: boolean;
}

/** @param failed what a close that goes wrong says */
export function replaceable(
  first: Transport,
  closeFirst: () => Promise<void>,
  failed: (error: unknown) => void,
): Replaceable {
  let now: Turn = { transport: first, close: closeFirst, attempts: 0, isOver: false };
  /** Those whose attempts have not ended. */
  const before = new Set<Turn>();

  const end = (turn: Turn): void => {
    before.delete(turn);
    turn.close().catch(failed);
  };
  const over = (turn: Turn): void => {
    if (turn.isOver) return;
    turn.isOver = true;
    before.add(turn);
    if (turn.attempts === 0) end(turn);
  };
  const during = async <T>(work: (transport: Transport) => Promise<T>): Promise<T | Delayed> => {
    const turn = now;
    if (turn.isOver && !before.has(turn)) return GONE;
    turn.attempts++;
    try {
      return await work(turn.transport);
    } finally {
      if (--turn.attempts === 0 && turn.isOver && before.has(turn)) end(turn);
    }
  };

  return {
    get name() {
      return now.transport.name;
    },
    deliver: (outgoing, signal) => during((transport) => transport.deliver(outgoing, signal)),
    verify: (outgoing, signal) => during((transport) => transport.verify(outgoing, signal)),
    replace(transport, close) {
      const last = now;
      now = { transport, close, attempts: 0, isOver: false };
      over(last);
    },
    retire: () => over(now),
    async close() {
      const left = [...before];
      before.clear();
      if (!now.isOver) left.push(now);
      now.isOver = true;
      await Promise.all(left.map((turn) => turn.close()));
    },
  };
}
