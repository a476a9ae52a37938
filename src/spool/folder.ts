/** The folder of the spool's file: made durably, readable by its owner only. Fails with a SpoolError that says what to do. */
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { SpoolError } from '../mail/spool.ts';

export async function makeFolder(path: string): Promise<void> {
  const folder = resolve(dirname(path));
  try {
    const missing: string[] = [];
    for (let up = folder; !(await isFolder(up)); up = dirname(up)) missing.unshift(up);
    // One by one: Node.js' own way to make all of them never returns where the kernel lets none be made, as under /proc.
    for (const one of missing) await mkdir(one, { mode: 0o700 }).catch(unlessThere);
    // SQLite makes its files' entries in the folder durable; the entries of the folder and of those above it are ours.
    for (const one of missing.length > 0 ? missing.toReversed() : [folder]) await syncFolder(dirname(one));
  } catch (error) {
    throw new SpoolError(
      'readOnly',
      `The spool's folder ${dirname(path)} cannot be made: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  throw new Error(`${path} is no folder`);
}

/** Another process may have made it meanwhile. */
function unlessThere(error: unknown): void {
  if (codeOf(error) !== 'EEXIST') throw error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** As far as the system lets us: some know no sync of a folder, and one above ours may not be readable. */
async function syncFolder(folder: string): Promise<void> {
  try {
    await using handle = await open(folder, 'r');
    await handle.sync();
  } catch {
    // nothing else can be done about it
  }
}
