/**
 * What the end of a program means, as a table by its exit code. Codes 64 to 78 are those of sysexits.h, read as Postfix
 * reads them (src/global/sys_exits.c), but for two: a program that says its arguments (64) or its configuration (78) are
 * wrong would say so of every message, so mail is kept until somebody has mended it. Pure.
 */
import type { Delayed, DeliveryStatus, PermanentCode, Reach, TransientCode } from '../mail/status.ts';
import { MISCONFIGURED, unreachable } from '../mail/status.ts';
import { printable } from './printable.ts';

/** Characters of a program's standard error that are told. */
export const QUOTED = 1_000;

type Meaning =
  | { readonly code: TransientCode; readonly reach: Reach; readonly told: string }
  | { readonly code: PermanentCode; readonly told: string };

const EXITS: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [
    64,
    {
      code: MISCONFIGURED,
      reach: 'transport',
      told: 'says that it was called in a wrong way (EX_USAGE); check command',
    },
  ],
  [65, { code: '5.6.0', told: 'says that the message is not in order (EX_DATAERR)' }],
  [66, { code: '5.3.0', told: 'cannot open its input (EX_NOINPUT)' }],
  [67, { code: '5.1.1', told: 'does not know the recipient (EX_NOUSER)' }],
  [68, { code: '5.1.2', told: 'does not know the host (EX_NOHOST)' }],
  [69, { code: '5.3.0', told: 'lacks a service (EX_UNAVAILABLE)' }],
  [70, { code: '5.3.0', told: 'has an error of its own (EX_SOFTWARE)' }],
  [71, { code: '4.3.0', reach: 'message', told: 'lacks something of the system at the moment (EX_OSERR)' }],
  [72, { code: '5.3.0', told: 'lacks a file of the system (EX_OSFILE)' }],
  [73, { code: '5.2.0', told: 'cannot make its output (EX_CANTCREAT)' }],
  [74, { code: '5.3.0', told: 'could not read or write (EX_IOERR)' }],
  [75, { code: '4.3.0', reach: 'message', told: 'wants it again later (EX_TEMPFAIL)' }],
  [76, { code: '5.5.0', told: 'was answered against the protocol (EX_PROTOCOL)' }],
  [77, { code: '5.7.0', told: 'may not do it (EX_NOPERM)' }],
  [78, { code: MISCONFIGURED, reach: 'transport', told: 'says that its configuration is wrong (EX_CONFIG)' }],
  // What a shell answers for its last command.
  [126, { code: MISCONFIGURED, reach: 'transport', told: 'met a program that may not be executed' }],
  [127, { code: MISCONFIGURED, reach: 'transport', told: 'met a program that is not there' }],
]);

export type End =
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'signal'; readonly name: string }
  /** Milliseconds it was given. */
  | { readonly kind: 'timeout'; readonly after: number };

/** @param said the beginning of its standard error, as it came */
export function meaningOfEnd(program: string, end: End, said: string): DeliveryStatus {
  const quote = printable(said, QUOTED);
  const words = quote === '' ? '' : `. It says: ${quote}`;
  switch (end.kind) {
    case 'timeout':
      return delayed(
        { code: '4.3.0', reach: 'message', told: `did not end within ${end.after / 1000} s and was killed` },
        'TIMEOUT',
        program,
        words,
        true,
      );
    case 'signal':
      return delayed({ code: '4.3.0', reach: 'message', told: `was ended by ${end.name}` }, end.name, program, words);
    case 'exit':
      return meaningOfExit(program, end.code, words);
    default:
      return unreachable(end);
  }
}

function meaningOfExit(program: string, code: number, words: string): DeliveryStatus {
  const cause = `EXIT ${code}`;
  if (code === 0)
    return {
      outcome: 'relayed',
      code: '2.0.0',
      cause,
      text: 'Accepted by the program',
      reason: `${program} ended with 0${words}`,
    };
  // A shell's word for a command that a signal ended.
  if (code > 128 && code <= 128 + 64)
    return delayed(
      { code: '4.3.0', reach: 'message', told: `ended with ${code}: a signal ended what it ran` },
      cause,
      program,
      words,
    );
  const meaning = EXITS.get(code) ?? { code: '5.3.0', told: 'does not take the message' };
  if ('reach' in meaning) return delayed(meaning, cause, program, ` (${code})${words}`);
  return {
    outcome: 'failed',
    code: meaning.code,
    cause,
    text: 'The message was refused by the program it was for',
    reason: `${program} ${meaning.told} (${code})${words}`,
  };
}

/** Codes of errors that come again with every message until somebody has mended them. */
const NEEDS_A_PERSON: Readonly<Record<string, string>> = {
  ENOENT: 'is not there, or its interpreter, or the folder it is started in; check command and folder',
  EACCES: 'may not be executed by this gateway, or its folder not be entered; check their rights',
  EPERM: 'may not be executed by this gateway; check its rights',
  ENOTDIR: 'cannot be started, because something on its path is no folder; check command and folder',
  ENOEXEC: 'is no program; a script has to begin with a line such as #!/bin/sh',
  ELOOP: 'cannot be started, because symbolic links on its path lead in a circle',
};

export function notStarted(program: string, cause: string): Delayed {
  const told = NEEDS_A_PERSON[cause];
  return told === undefined
    ? delayed(
        { code: '4.3.0', reach: 'transport', told: 'cannot be started at the moment' },
        cause,
        program,
        ` (${cause})`,
      )
    : delayed({ code: MISCONFIGURED, reach: 'transport', told }, cause, program, ` (${cause})`);
}

function delayed(
  { code, reach, told }: { readonly code: TransientCode; readonly reach: Reach; readonly told: string },
  cause: string,
  program: string,
  words: string,
  capped = false,
): Delayed {
  return {
    outcome: 'delayed',
    code,
    reach,
    cause,
    text: 'The message cannot be handed over at the moment',
    reason: `${program} ${told}${words}`,
    ...(capped ? { capped } : {}),
  };
}
