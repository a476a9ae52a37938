/** The door from sources to the spool. Rejects as the spool does. */
import { DEFAULT_ROUTE } from '../config/routes.ts';
import type { Report } from '../mail/event.ts';
import type { Arrival, Inject } from '../mail/source.ts';
import type { Receipt, Spool } from '../mail/spool.ts';
import type { Queue } from '../queue/queue.ts';

/** Makes what a source brings durable as an item of its route, tells it, and wakes the queue. */
export function injectInto(spool: Spool, queue: Queue, report: Report): Inject {
  return {
    room: (size) => spool.room(size),
    begin() {
      const begun = performance.now();
      const draft = spool.begin();
      return {
        id: draft.id,
        write: (chunk) => draft.write(chunk),
        abort: () => draft.abort(),
        async commit(arrival: Arrival, receipt?: Receipt) {
          const {
            envelope,
            origin,
            mailbox,
            route = DEFAULT_ROUTE,
            messageId,
            headerSize,
            isImportant = false,
            repairs,
          } = arrival;
          const entries = [
            {
              route,
              mailbox: mailbox.toLowerCase(),
              envelope,
              origin,
              messageId,
              headerSize,
              isImportant,
              repairs,
            },
          ];
          const items = receipt === undefined ? await draft.commit(entries) : await draft.commitOnce(entries, receipt);
          if (items === undefined) return false;
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
          return true;
        },
      };
    },
  };
}
