/**
 * `queue export`: the octets of one message as they lie in the spool, to a new file that its owner alone may read, or to
 * standard output. Never more than a chunk in memory. A file that could not be written whole is taken away again.
 */
import { open, unlink } from 'node:fs/promises';
import type { Body } from '../console/operations.ts';
import { SpoolError } from '../mail/spool.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { userOf } from './queue-act.ts';
import type { Call } from './queue-call.ts';
import { idsOf, usage } from './queue-choice.ts';
import { NOT_DONE, octets } from './queue-text.ts';

type Write = (octets: Uint8Array) => Promise<unknown>;

export async function exportMessage({ values, words, terminal, reach }: Call): Promise<ExitCode> {
  const [id, ...more] = idsOf(words);
  if (id === undefined || more.length > 0) throw usage('"queue export" takes one id');
  const to = values['to'];
  if (typeof to !== 'string' || to === '') throw usage('"queue export" needs --to FILE, or --to - for standard output');
  const { operations } = await reach();
  const body = await operations.read(id, userOf());
  if (body === 'absent') throw new CommandFault(EXIT.failed, `${id}: ${NOT_DONE.absent}`);
  if (body === 'gone') throw new CommandFault(EXIT.failed, `${id}: ${NOT_DONE.ended}; its body is gone`);
  if (to === '-') await copy(body, (chunk) => terminal.write(chunk), terminal);
  else {
    await toFile(to, body, terminal);
    terminal.complain(`${octets(body.size)} written to ${to}`);
  }
  return EXIT.done;
}

async function toFile(path: string, body: Body, terminal: Terminal): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    const why = isThere ? 'it is there already; choose another name' : sentenceOf(error);
    throw new CommandFault(EXIT.failed, `${path} cannot be written: ${why}`, { cause: error });
  });
  try {
    await copy(body, (chunk) => file.writeFile(chunk), terminal);
    await file.sync();
  } catch (error) {
    await unlink(path).catch(() => undefined);
    throw error;
  } finally {
    await file.close();
  }
}

async function copy(body: Body, write: Write, { progress, stop }: Terminal): Promise<void> {
  let written = 0;
  const fault = (why: string, exitCode: ExitCode = EXIT.failed): CommandFault =>
    new CommandFault(exitCode, `Only ${written} of ${body.size} octets could be copied: ${why}`);
  try {
    for await (const chunk of body.octets) {
      if (stop.aborted) throw fault('you stopped it');
      await write(chunk).catch((error: unknown) => {
        throw fault(`they cannot be written: ${sentenceOf(error)}`);
      });
      written += chunk.length;
      progress(`${octets(written)} of ${octets(body.size)}`);
    }
    if (written !== body.size) throw new Error('it ended early');
  } catch (error) {
    if (error instanceof CommandFault) throw error;
    const isPassing = error instanceof SpoolError && error.trouble !== 'damaged';
    const why = `they cannot be read: ${sentenceOf(error)}. "queue check" tells whether the body is damaged`;
    throw fault(why, isPassing ? EXIT.temporary : EXIT.failed);
  } finally {
    progress('');
  }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
