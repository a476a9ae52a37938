/** What the events of logins say of tokens, as findings of `check`. Pure; never fails. */
import type { Event } from '../mail/event.ts';
import type { Finding } from './finding.ts';

export function* tokensIn(events: readonly Event[]): Generator<Finding> {
  for (const event of events) {
    if (event.event === 'token.acquired') {
      const roles = event.roles.length === 0 ? 'none (right with RBAC for Applications)' : event.roles.join(', ');
      const says = `good until ${new Date(event.expiresAt).toISOString()}, roles: ${roles}`;
      yield { mark: 'ok', what: 'token', says, seconds: event.seconds };
    } else if (event.event === 'token.failed') {
      yield { mark: 'fail', what: 'token', says: `${event.cause}: ${event.advice}`, seconds: event.seconds };
    } else if (event.event === 'token.warning') {
      yield { mark: 'warn', what: 'token', says: event.warning };
    }
  }
}
