/** TLS to the database as its URL wants it; files are read for each new connection, so that renewed ones are taken. Rejects with PostgresError. */
import type { PostgresUrl } from '../mail/postgres-url.ts';
import { readText } from '../tls/pemfile.ts';
import { PostgresError, reasonOf } from './postgres-trouble.ts';

export interface Tls {
  readonly rejectUnauthorized: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly checkServerIdentity?: () => undefined;
}

/** @returns false: none is wanted */
export async function tlsOf(
  { sslMode, sslRootCert, sslCert, sslKey }: PostgresUrl,
  where: string,
): Promise<Tls | false> {
  if (sslMode === 'disable') return false;
  const read = async (path: string): Promise<string> => {
    const text = await readText(path);
    if (text.ok) return text.text;
    throw new PostgresError(reasonOf({ code: 'FILE', message: text.reason, isConnecting: true }), where);
  };
  const verifies = sslMode === 'verify-ca' || sslMode === 'verify-full';
  return {
    rejectUnauthorized: verifies,
    ...(sslRootCert === undefined || sslRootCert === 'system' ? {} : { ca: await read(sslRootCert) }),
    ...(sslCert === undefined || sslKey === undefined ? {} : { cert: await read(sslCert), key: await read(sslKey) }),
    ...(sslMode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  };
}
