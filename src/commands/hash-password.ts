/** `hash-password`: reads a password from standard input and prints the line for `users:` in the configuration. */
import { createInterface } from 'node:readline';
import { hashPassword } from '../smtp/password.ts';
import type { Command } from './command.ts';
import { CommandFault, EXIT } from './outcome.ts';

export const hashPasswordCommand: Command = {
  name: 'hash-password',
  usage: 'hash-password [--name USER]',
  summary: 'read a password from standard input, print a line for users:',
  options: { name: { type: 'string' } },
  async run({ name }, terminal) {
    if (process.stdin.isTTY) terminal.complain('Type the password, then Enter (it is shown while you type):');
    const password = await firstLine();
    if (password === '')
      throw new CommandFault(
        EXIT.usage,
        'No password came on standard input. Usage: smtp2exchange hash-password < FILE',
      );
    const user = typeof name === 'string' ? name : 'NAME';
    terminal.print(`  - { name: ${JSON.stringify(user)}, passwordHash: "${await hashPassword(password)}" }`);
    return EXIT.done;
  },
};

async function firstLine(): Promise<string> {
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) return line;
  return '';
}
