/** The settings of a listener in smtp-server's words. Fails only where there is TLS and no certificate: TypeError. */
import type { ListenerOptions } from './options.ts';
import { tlsSettings } from './tls.ts';

/** The package's own close time-out does not serve: the end is bounded by the caller's signal. Milliseconds, never reached. */
const NEVER = 2 ** 31 - 1;
const JOKES = ['WIZ', 'SHELL', 'KILL'];

export function packageSettings(options: ListenerOptions, hostname: string): Record<string, unknown> {
  return {
    name: hostname,
    banner: 'smtp2exchange',
    logger: false,
    secure: options.tls === 'implicit',
    ...tlsSettings(options),
    authMethods: ['PLAIN', 'LOGIN'],
    authOptional: options.auth !== 'required',
    allowInsecureAuth: options.allowInsecureAuth,
    disabledCommands: [
      ...JOKES,
      ...(options.tls === 'none' ? ['STARTTLS'] : []),
      ...(options.auth === 'none' ? ['AUTH'] : []),
    ],
    disableReverseLookup: true,
    hideDSN: false,
    hideENHANCEDSTATUSCODES: false,
    size: options.maxMessageSize,
    maxRecipients: options.maxRecipients,
    maxClients: options.maxConnections,
    socketTimeout: options.idleTimeout,
    closeTimeout: NEVER,
  };
}
