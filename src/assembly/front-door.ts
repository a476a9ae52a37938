/** The listeners as the configuration has them: their rules, their certificates, their limits. */
import { isSame } from '../config/changes.ts';
import type { Config, ListenerConfig } from '../config/config.ts';
import type { Report } from '../mail/event.ts';
import { createPolicy } from '../mail/policy.ts';
import { senderMap } from '../mail/senders.ts';
import type { CertificateSource } from '../smtp/certificate.ts';
import { certificateSource } from '../smtp/certificate.ts';
import { loginGuard } from '../smtp/limits.ts';
import type { LoginGuard, LoginRules } from '../smtp/limits.ts';
import type { ListenerOptions, SmtpParts } from '../smtp/options.ts';
import { clientRates } from '../smtp/rates.ts';
import { StartError } from './start-error.ts';

/** Who may do what, for all listeners together. */
export type Rules = Omit<SmtpParts, 'inject' | 'report' | 'now' | 'rateWindow'>;

/** @param last those of the configuration before: what was counted goes on, where the limits are the same */
export function rulesOf(
  config: Config,
  logins: LoginGuard,
  last?: { readonly config: Config; readonly rules: Rules },
): Rules {
  const { senders, recipients, users, clients } = config;
  const isCounted = last !== undefined && isSame(limitsOf(config), limitsOf(last.config));
  return {
    users:
      last !== undefined && isSame(users, last.config.users)
        ? last.rules.users
        : new Map(users.map((user) => [user.name, user.passwordHash.reveal()])),
    hostname: config.hostname,
    defaultFrom: senders.mailbox,
    policy: createPolicy(config),
    senders: senderMap(senders),
    rate: isCounted ? last.rules.rate : clientRates({ users, clients }),
    logins,
    completeDomain: senders.domain,
    headerOnly: recipients.headerOnly,
    nullReversePath: senders.nullReversePath,
  };
}

function limitsOf({ users, clients }: Config): unknown {
  return [
    users.map(({ name, perMinute }) => ({ name, perMinute })),
    clients.map(({ networks, perMinute }) => ({ networks, perMinute })),
  ];
}

/** Failed logins and bans, whose limits may change while they are counted. */
export function followedGuard(limits: () => LoginRules): LoginGuard {
  return loginGuard({
    get failures() {
      return limits().failures;
    },
    get within() {
      return limits().within;
    },
    get ban() {
      return limits().ban;
    },
    get delay() {
      return limits().delay;
    },
  });
}

/**
 * The files named, or one of our own making in our own folder. Undefined without TLS.
 * @throws StartError
 */
export async function certificateOf(
  { name, tls, minTls, certificate }: Pick<ListenerConfig, 'name' | 'tls' | 'minTls' | 'certificate'>,
  { spool, hostname }: Config,
  report: Report,
): Promise<CertificateSource | undefined> {
  if (tls === 'none') return undefined;
  const files =
    certificate === undefined
      ? { generateIn: spool.folder, hostname }
      : {
          ...('pfxFile' in certificate
            ? { pfxFile: certificate.pfxFile }
            : { certFile: certificate.certFile, keyFile: certificate.keyFile }),
          ...(certificate.passphrase === undefined ? {} : { passphrase: certificate.passphrase.reveal() }),
        };
  try {
    return await certificateSource(files, { report, listener: name, minTls });
  } catch (error) {
    throw new StartError('configuration', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

export function listenerOptions(
  { certificate: _files, ...listener }: ListenerConfig,
  certificate: CertificateSource | undefined,
): ListenerOptions {
  return { ...listener, ...(certificate === undefined ? {} : { certificate }) };
}
