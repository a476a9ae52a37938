/**
 * Whether something outside can be used, without using it: a TCP or TLS connection that is made and ended, a folder that a
 * file is written into and removed from, a program that could be run. Each resolves with undefined, or rejects with the
 * error of the system.
 */
import { constants } from 'node:fs';
import { access, lstat, open, rm, stat } from 'node:fs/promises';
import { connect as connectPlain, isIP } from 'node:net';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { connect as connectTls, getCACertificates } from 'node:tls';
import { ConnectError, codeOf } from '../exchange/failure.ts';
import { watchOffered } from '../tls/offered.ts';

/** TCP, and TLS for https. No octet of a request is sent. @param ca PEM of authorities to trust in addition */
export async function reachHost(url: URL, ca: string | undefined, signal: AbortSignal): Promise<void> {
  const isTls = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port === '' ? (isTls ? 443 : 80) : url.port);
  const secure = {
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
  };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const tls = isTls ? connectTls({ host, port, ...secure }) : undefined;
  const offered = tls === undefined ? () => undefined : watchOffered(tls);
  const socket = tls ?? connectPlain({ host, port });
  const giveUp = (): void => void socket.destroy(Object.assign(new Error('too late'), { code: 'ETIMEDOUT' }));
  signal.addEventListener('abort', giveUp, { once: true });
  socket.once(isTls ? 'secureConnect' : 'connect', () => resolve());
  socket.on('error', (error) =>
    reject(new ConnectError(codeOf(error), error.message, { certificate: offered(), cause: error })),
  );
  try {
    if (signal.aborted) giveUp();
    await promise;
  } finally {
    signal.removeEventListener('abort', giveUp);
    socket.destroy();
  }
}

/** @returns whether it is there; if not, it can be made */
export async function reachFolder(path: string, name: string): Promise<boolean> {
  const file = join(path, name);
  try {
    const handle = await open(file, 'wx');
    try {
      await handle.write('x');
    } finally {
      await handle.close();
      await rm(file);
    }
    return true;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    await access(await nearest(path), constants.W_OK | constants.X_OK);
    return false;
  }
}

/** What there is of a path. */
export async function nearest(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    try {
      await lstat(at);
      return at;
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || dirname(at) === at) throw error;
    }
  }
}

/** @returns its path */
export async function findProgram(program: string, environment: Readonly<Record<string, string>>): Promise<string> {
  // What execvp() takes where there is no PATH.
  const folders = isAbsolute(program) ? [''] : (environment['PATH'] ?? '/bin:/usr/bin').split(delimiter);
  const ends = process.platform === 'win32' ? ['', '.exe', '.com'] : [''];
  let trouble: unknown = Object.assign(new Error('not found'), { code: 'ENOENT' });
  for (const path of folders.flatMap((folder) => ends.map((end) => join(folder, program + end)))) {
    try {
      await access(path, constants.X_OK);
      if ((await stat(path)).isFile()) return path;
      trouble = Object.assign(new Error('no file'), { code: 'EISDIR' });
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') trouble = error;
    }
  }
  throw trouble;
}
