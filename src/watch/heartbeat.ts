/**
 * A sign of life: an address is asked for (GET) as long as the gateway is well, so that a service elsewhere notices when
 * it stays away. At once when it is well for the first time, then every so often; a beat that fails is `alarm.failed` and
 * is not repeated, the next one comes anyway. Never throws.
 */
import type { Report } from '../mail/event.ts';
import type { Ask } from './alarm-webhook.ts';
import { asked } from './alarm-webhook.ts';

export interface HeartbeatOptions {
  /** A secret. */
  readonly url: string;
  /** Milliseconds. */
  readonly every: number;
  readonly ask: Ask;
  /** No beat without. */
  readonly isWell: () => boolean;
  readonly report: Report;
  /** Milliseconds of one request, default 20,000, at most `every`. */
  readonly timeout?: number;
}

export interface Heartbeat {
  /** One beat. */
  beat(): Promise<void>;
  stop(): void;
}

export function startHeartbeat({ url, every, ask, isWell, report, timeout = 20_000 }: HeartbeatOptions): Heartbeat {
  const stopping = new AbortController();
  const beat = async (): Promise<void> => {
    if (!isWell() || stopping.signal.aborted) return;
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(Math.min(timeout, every))]);
    const sent = await asked(ask, { method: 'GET', url, headers: {}, signal });
    if (sent.ok || stopping.signal.aborted) return;
    report({ event: 'alarm.failed', channel: 'heartbeat', attempt: 1, failure: sent.failure, givenUp: true });
  };
  const timer = setInterval(() => void beat(), every);
  timer.unref();
  void beat();
  return {
    beat,
    stop() {
      clearInterval(timer);
      stopping.abort();
    },
  };
}
