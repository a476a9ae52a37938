/** Files of certificates and keys: read within a bound, written whole. What cannot be read is a value with a sentence. */
import { open, readFile, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Octets; what is larger is not what was meant. */
const LARGEST = 1024 * 1024;

export type TextRead =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string; readonly isMissing: boolean };

export async function readText(path: string): Promise<TextRead> {
  try {
    const found = await stat(path);
    if (!found.isFile()) return { ok: false, reason: `${path} is not a file`, isMissing: false };
    if (found.size > LARGEST) return { ok: false, reason: `${path} is larger than 1 MiB`, isMissing: false };
    return { ok: true, text: await readFile(path, 'latin1') };
  } catch (error) {
    const isMissing = codeOf(error) === 'ENOENT';
    return {
      ok: false,
      reason: isMissing ? `there is no file ${path}` : `${path} cannot be read: ${codeOf(error)}`,
      isMissing,
    };
  }
}

/** Whole or not at all, also if the machine loses power. @throws what the file system says */
export async function writeSafely(path: string, text: string, mode: number): Promise<void> {
  const draft = `${path}.new`;
  const file = await open(draft, 'w', mode);
  try {
    // `mode` counts only for a file that is made; one left by a crash keeps its own.
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  const folder = await open(dirname(path), 'r');
  await folder.sync().finally(() => folder.close());
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
}
