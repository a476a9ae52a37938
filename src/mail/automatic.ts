/** Whether anybody, or any program, wants to hear of a message (RFC 3834 section 2, RFC 2919, MS-OXCMAIL). Pure; never fails. */
import { canonicalAddress, isSendable } from './address.ts';
import { fieldValue } from './header.ts';
import type { HeaderField } from './header.ts';

/** Why nobody is told about a message with this header; undefined: whoever sent it may be. */
export function automatic(header: readonly HeaderField[]): string | undefined {
  for (const field of header) {
    switch (field.name) {
      case 'auto-submitted':
        if (!/^no\b/i.test(fieldValue(field))) return 'a program sent it of its own accord (Auto-Submitted)';
        break;
      case 'list-id':
        return 'it belongs to a list (List-Id)';
      case 'precedence':
        if (/^(?:bulk|junk|list)\b/i.test(fieldValue(field))) return 'it is mass mail (Precedence)';
        break;
      case 'content-type':
        if (/^multipart\/report\b/i.test(fieldValue(field))) return 'it is a report itself (multipart/report)';
        break;
      default:
    }
  }
  return undefined;
}

/** Nobody needs to know that it went well who wants no answer. */
export function unanswered(header: readonly HeaderField[]): string | undefined {
  const isSuppressed = header.some(
    (field) => field.name === 'x-auto-response-suppress' && /\b(?:all|dr|autoreply)\b/i.test(fieldValue(field)),
  );
  return isSuppressed ? 'its sender wants no answer (X-Auto-Response-Suppress)' : undefined;
}

/** Not what a device made up: an address without a domain, or of the device or this gateway itself. */
export function canReceive(address: string, hostname: string): boolean {
  if (!isSendable(address)) return false;
  const canonical = canonicalAddress(address);
  const domain = canonical.slice(canonical.lastIndexOf('@') + 1);
  if (domain.startsWith('[')) return true;
  const last = domain.slice(domain.lastIndexOf('.') + 1);
  return (
    domain !== canonicalAddress(hostname) &&
    domain.includes('.') &&
    !['localhost', 'localdomain', 'invalid'].includes(last)
  );
}
