/** Whatever a pickup makes durable waits until its folder is certain to be its own (pickup-claim.ts), whose trouble passes through. */
import type { Claim } from './pickup-claim.ts';
import type { PickupOptions } from './pickup-options.ts';

/** What makes anything durable asks before it does. */
export function guardedBy(claim: Claim, options: PickupOptions, signal: AbortSignal): PickupOptions {
  const { inject, tell } = options;
  return {
    ...options,
    inject: {
      room: (size) => inject.room(size),
      begin() {
        const incoming = inject.begin();
        return {
          id: incoming.id,
          write: (chunk) => incoming.write(chunk),
          abort: () => incoming.abort(),
          // At once where there is nothing to ask: their order is that of the calls.
          commit: (arrival, receipt) =>
            claim.confirm(signal)?.then(() => incoming.commit(arrival, receipt)) ?? incoming.commit(arrival, receipt),
        };
      },
    },
    ...(tell === undefined
      ? {}
      : {
          async tell(mail, reason, receipt) {
            await claim.confirm(signal);
            return tell(mail, reason, receipt);
          },
        }),
  };
}
