/**
 * What trouble with a folder means, as a table by the error codes of the operating system. What needs a person is a
 * fault of our own configuration; all of it holds the route, because the next message would meet the same. Pure.
 */
import type { MimeError } from '../mail/mime.ts';
import type { Delayed, Failed, TransientCode } from '../mail/status.ts';
import { MISCONFIGURED } from '../mail/status.ts';
import { cutShort } from '../mail/stored.ts';
import type { TooManyParts } from './parts.ts';

/** What stands for `...` in "the folder ...". */
const CODES: readonly (readonly [codes: readonly string[], code: TransientCode, told: string])[] = [
  [['ENOSPC', 'EDQUOT'], '4.3.1', 'is on a file system that is full, or its quota is used up; make room'],
  [
    ['EACCES', 'EPERM'],
    MISCONFIGURED,
    'may not be written by this gateway; give its user the right to read, write and search it',
  ],
  [['EROFS'], MISCONFIGURED, 'is on a file system that is read-only; mount it for writing, or mend what made it so'],
  [
    ['ENOTDIR', 'EEXIST', 'EISDIR'],
    MISCONFIGURED,
    'cannot be used: something on its way, or in it under a name of the gateway, is a file where a folder should be, or the other way round',
  ],
  [
    ['ELOOP', 'ENAMETOOLONG'],
    MISCONFIGURED,
    'has a path that cannot be followed (too long, or symbolic links in a circle)',
  ],
  [
    ['EXDEV'],
    MISCONFIGURED,
    'is several file systems at once, so nothing can be renamed in it; name a folder of one file system',
  ],
  [
    ['EIO', 'ESTALE', 'ENXIO', 'ENODEV', 'ENOTCONN', 'EHOSTDOWN', 'ETIMEDOUT', 'EBUSY', 'ENOENT'],
    '4.3.0',
    'cannot be reached or fails at the moment; look at its disk, its mount or its server',
  ],
  [
    ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR'],
    '4.3.0',
    'cannot be used because this system has no more open files or memory at the moment',
  ],
];
const byCode = new Map(CODES.flatMap(([names, code, told]) => names.map((name) => [name, { code, told }] as const)));

/** @returns undefined for what is no error of the operating system */
export function troubleOf(error: unknown, path: string): Delayed | undefined {
  const cause = error instanceof Error && 'syscall' in error && 'code' in error ? String(error.code) : undefined;
  if (cause === undefined) return undefined;
  const row = byCode.get(cause);
  return {
    outcome: 'delayed',
    code: row?.code ?? '4.3.0',
    reach: row === undefined ? 'message' : 'transport',
    cause,
    text:
      row?.code === '4.3.1'
        ? 'There is no room for the message at the moment'
        : 'The message cannot be handed over at the moment',
    reason: `The folder ${path} ${row?.told ?? `cannot be written for a reason this gateway does not know`} (${cause})`,
    // It may be this message's own, such as a name the file system does not take.
    ...(row === undefined ? { capped: true } : {}),
  };
}

export function notTakenApart(error: MimeError | TooManyParts): Failed {
  const isSize = error.name !== 'MimeError' || ('trouble' in error && error.trouble === 'text');
  return {
    outcome: 'failed',
    code: isSize ? '5.3.4' : '5.6.0',
    cause: isSize ? 'too much to take apart' : 'not taken apart',
    text: isSize
      ? 'The message has too much text or too many parts'
      : 'The message cannot be taken apart into text and attachments',
    reason: `${error.message}; form: message would hand it over as it is`,
  };
}

export function aborted(): Delayed {
  return cutShort('Given up before the message was handed over');
}
