/** The forms of what Entra ID gives out: ids and secrets, which people mistake for each other. */
import { hostName } from './network.ts';
import { Secret } from './secret.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function tenantId(text: string): Value<string> {
  if (GUID.test(text) || (text.includes('.') && hostName(text).ok)) return good(text);
  if (/^(common|organizations|consumers)$/i.test(text)) {
    return bad('must name one tenant', 'a gateway has no signed-in user from whom the tenant would follow');
  }
  return bad(
    "must be the tenant's id (a GUID) or one of its domains, such as contoso.onmicrosoft.com",
    'it is called Directory (tenant) ID on the overview page of the app registration',
  );
}

export function clientId(text: string): Value<string> {
  if (GUID.test(text)) return good(text);
  return bad(
    'must be a GUID, such as 11111111-2222-3333-4444-555555555555',
    'it is called Application (client) ID on the overview page of the app registration',
  );
}

/** Without clientId: the one that the machine has of itself. */
export function managedIdentity(text: string): Value<{ readonly clientId?: string }> {
  if (text === 'system') return good({});
  if (GUID.test(text)) return good({ clientId: text });
  return bad(
    'must be system, or the client ID (a GUID) of a user-assigned identity',
    'the overview page of the managed identity shows its client ID',
  );
}

export function clientSecret(text: string): Value<Secret> {
  if (text !== text.trim()) return bad('begins or ends with white space', 'remove it');
  // A secret's Value is never a GUID, its Secret ID always is.
  if (GUID.test(text))
    return bad('is a GUID, which is the Secret ID', 'paste the Value, which is shown once, when the secret is made');
  return good(new Secret(text));
}

export function scope(text: string): Value<string> {
  if (/^[^\s]+\/\.default$/.test(text)) return good(text);
  return bad('must be one scope that ends in /.default, such as https://outlook.office365.com/.default');
}

/** `$scrypt$ln=17,r=8,p=1$salt$hash`, as `hash-password` prints it. */
export function passwordHash(text: string): Value<Secret> {
  const [, ln = '0'] = /^\$scrypt\$ln=(\d{1,2}),r=\d{1,2},p=\d{1,2}\$[\w+/=-]{8,}\$[\w+/=-]{16,}$/.exec(text) ?? [];
  const cost = Number(ln);
  if (cost >= 10 && cost <= 20) return good(new Secret(text));
  return bad(
    'must have the form $scrypt$ln=...,r=...,p=...$salt$hash',
    'npm start -- hash-password prints it for a password',
  );
}
