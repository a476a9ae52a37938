/** The credential of an account: how long it lasts, in the form that gets in, and read anew from its files. */
import { X509Certificate } from 'node:crypto';
import type { CredentialConfig, ExchangeConfig, RouteConfig } from '../config/config.ts';
import { rereadCredential } from '../config/reread.ts';
import type { Credential } from '../exchange/credential.ts';
import type { Report } from '../mail/event.ts';
import { unreachable } from '../mail/status.ts';

/** Takes another credential into use. @returns what is wrong with it; the one before stays then */
export type Replace = (credential: CredentialConfig) => string | undefined;

/** When the app registration's credential ends: by the configuration, or by the certificate itself. */
export function endOfCredential({
  credential,
  expires,
}: ExchangeConfig): { readonly kind: 'secret' | 'certificate'; readonly expiresAt: number } | undefined {
  const { kind } = credential;
  if (kind === 'certificate') {
    return { kind, expiresAt: Date.parse(new X509Certificate(credential.certificate).validTo) };
  }
  return expires === undefined || kind !== 'secret' ? undefined : { kind, expiresAt: expires };
}

/** Reads its files anew, and tells what came of it. */
export async function renewCredential(
  { name: account, setting, exchange }: RouteConfig,
  replace: Replace,
  report: Report,
): Promise<void> {
  const read = await rereadCredential(exchange.credential, setting);
  if (read === undefined) return;
  const why = read.ok ? replace(read.value) : [read.problem, read.hint].filter((part) => part !== undefined).join('; ');
  const end = read.ok ? endOfCredential(replacing(exchange, read.value)) : undefined;
  report(
    why === undefined
      ? { event: 'credential.loaded', account, ...end }
      : { event: 'credential.failed', account, reason: why },
  );
}

/** exchange.expires is about the secret that stood in the file at the start. */
function replacing(exchange: ExchangeConfig, credential: CredentialConfig): ExchangeConfig {
  const { credential: before, expires, ...rest } = exchange;
  const isSame =
    before.kind === 'secret' && credential.kind === 'secret' && before.secret.reveal() === credential.secret.reveal();
  return { ...rest, credential, ...(isSame && expires !== undefined ? { expires } : {}) };
}

export function revealed(credential: Exclude<CredentialConfig, { kind: 'account' }>): Credential {
  switch (credential.kind) {
    case 'secret':
      return { kind: 'secret', secret: credential.secret.reveal() };
    case 'certificate':
      return { kind: 'certificate', certificate: credential.certificate, privateKey: credential.privateKey.reveal() };
    case 'managedIdentity':
    case 'workloadIdentity':
      return credential;
    default:
      return unreachable(credential);
  }
}
