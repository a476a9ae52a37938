/**
 * The token of another identity provider, which takes the place of a secret (workload identity federation). Its file is
 * read at each use, because what writes it (Kubernetes) replaces it every hour or so. A failure is a value with advice.
 */
import { readFile } from 'node:fs/promises';
import type { TokenFailure } from './token-failure.ts';

export async function readAssertion(
  file: string,
): Promise<{ readonly ok: true; readonly assertion: string } | TokenFailure> {
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
    return unusable(`cannot be read (${code})`);
  }
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text) ? { ok: true, assertion: text } : unusable('holds no token');
}

function unusable(why: string): TokenFailure {
  return {
    ok: false,
    cause: 'NO_ASSERTION',
    misconfigured: true,
    advice: `The file of exchange.workloadIdentity ${why}. Check that the pod has the label azure.workload.identity/use and its service account the client ID, or what else writes the file.`,
  };
}
