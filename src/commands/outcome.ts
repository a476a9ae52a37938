/** How a command ends: the exit codes of sysexits.h that the command line promises. */

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 64,
  temporary: 75,
  configuration: 78,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What a command is given: the outside world, so that it needs no globals. */
export interface Terminal {
  /** Writes a line to standard output. */
  print(line: string): void;
  /** Writes a line to standard error. */
  complain(line: string): void;
  /** Writes octets to standard output; resolves when more may be written, rejects when nobody reads them. */
  write(octets: Uint8Array): Promise<void>;
  /** Shows how far long work is, in a line that is written over; '' takes it away. Nothing where no person looks on. */
  progress(line: string): void;
  /** Aborts when the user or the system asks the process to end (SIGTERM, SIGINT). The reason is the signal's name. */
  readonly stop: AbortSignal;
  /**
   * Calls back at each request to read changed files again (SIGHUP). Without it the signal ends the process, as usual
   * for a program whose terminal is closed.
   */
  onReload(reload: () => void): void;
}

/** A fault that has a plain sentence and an exit code; everything else that is thrown is a bug. */
export class CommandFault extends Error {
  override readonly name = 'CommandFault';
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
