/**
 * The file that remembers that the gateway has changed over to another way out. JSON, written whole and renamed, synced
 * before save() resolves. An operator who deletes it has EWS tried again at the next start.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ChangeOver, ChangeOverStore } from './auto.ts';

/** @param file absolute path */
export function changeOverFile(file: string): ChangeOverStore {
  return {
    async load() {
      let text;
      try {
        text = await readFile(file, 'utf8');
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw error;
      }
      const change = read(text);
      if (change === undefined)
        throw new Error(
          `${file} cannot be read: delete it to have EWS tried again, or set exchange.transport to graph`,
        );
      return change;
    },
    async save(change) {
      const beside = `${file}.new`;
      await write(beside, `${JSON.stringify(change)}\n`);
      await rename(beside, file);
      const folder = await open(dirname(file), 'r');
      await folder.sync().finally(() => folder.close());
    },
  };
}

async function write(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function read(text: string): ChangeOver | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('at' in value) || !('cause' in value)) return undefined;
  const { at, cause } = value;
  const transport = 'transport' in value ? value.transport : undefined;
  if (transport !== 'ews' && transport !== 'graph') return undefined;
  return typeof at === 'number' && typeof cause === 'string' ? { transport, at, cause } : undefined;
}
