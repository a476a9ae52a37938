/**
 * The trace this gateway leaves in a message to know it again. Received fields do not live through a mailbox, so that a
 * message which a rule or an auto-reply sends round in a circle would never be noticed by them. Pure; never fails.
 */
import { fieldValue, headerField } from './header.ts';
import type { HeaderField } from './header.ts';

export const HOP_FIELD = 'X-SMTP2Exchange-Hop';
/** Times a message may have passed gateways such as this one. */
export const MAX_PASSES = 5;

export function hopField(hostname: string): HeaderField {
  return headerField(HOP_FIELD, hostname);
}

/** How often it has passed. What a mailbox kept as one property comes back as one field with commas. */
export function passesOf(fields: readonly HeaderField[]): number {
  return fields
    .filter(({ name }) => name === HOP_FIELD.toLowerCase())
    .reduce(
      (sum, field) =>
        sum +
        fieldValue(field)
          .split(',')
          .filter((host) => host.trim() !== '').length,
      0,
    );
}
