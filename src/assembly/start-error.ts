/** Why the gateway cannot start, for the person who must act: one sentence, and what kind of trouble it is. */
import { SpoolError } from '../mail/spool.ts';

/** Why the gateway cannot start. temporary: the same configuration can work later; configuration: a person must change something. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly kind: 'temporary' | 'configuration' | 'failed';
  constructor(kind: StartError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** What is no trouble of the surroundings stays as it is: a bug. */
export function asStartError(error: unknown): unknown {
  if (error instanceof SpoolError) {
    const kinds = {
      full: 'temporary',
      readOnly: 'configuration',
      damaged: 'failed',
      locked: 'temporary',
      newer: 'configuration',
      closed: 'failed',
      io: 'temporary',
    } as const;
    return new StartError(kinds[error.trouble], error.message, { cause: error });
  }
  if (!(error instanceof Error)) return error;
  const code = codeOf(error) ?? codeOf(error.cause);
  switch (code) {
    case 'EADDRINUSE':
      return new StartError('temporary', error.message, { cause: error });
    case 'EACCES':
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return new StartError('configuration', error.message, { cause: error });
    default:
      return error;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
