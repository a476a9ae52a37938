/** Notices as channels get them, for tests. */
import type { Notice } from '../../src/watch/alarm-notice.ts';
import { NOW } from './events.ts';

export function notice(more: Partial<Notice> = {}): Notice {
  return {
    notice: 'raised',
    alarm: 'ewsClosed:exchange',
    reason: 'ewsClosed',
    severity: 'critical',
    gateway: 'gateway.contoso.com',
    title: 'Exchange has closed EWS to this gateway (HTTP 403)',
    lines: ['Nothing is sent & kept.', 'Set-OrganizationConfig -EwsAllowedAppIDs "<existing list>,c1d2"'],
    since: NOW - 60_000,
    at: NOW,
    ...more,
  };
}
