/**
 * The questions of `setup`, one at a time, each answer judged at once: what cannot be is told and asked again. Reads lines
 * from a terminal or a pipe. Throws CommandFault if the answers end before the questions.
 */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { CommandFault, EXIT } from './outcome.ts';
import type { Given } from './setup-answers.ts';
import { QUESTIONS } from './setup-answers.ts';

export interface Ends {
  readonly input: Readable;
  readonly output: Writable;
  /** A person types. */
  readonly isTerminal: boolean;
}

/** Fills in what is not given. @param summary what is about to be done, in lines; asked for consent at the end */
export async function ask(given: Given, ends: Ends, summary: (given: Given) => readonly string[]): Promise<boolean> {
  const lines = createInterface({ input: ends.input, output: ends.output, terminal: ends.isTerminal });
  let isClosed = false;
  lines.on('close', () => {
    isClosed = true;
  });
  const answers = lines[Symbol.asyncIterator]();
  const say = (text: string): void => void ends.output.write(`${text}\n`);
  const question = async (text: string): Promise<string> => {
    // A pipe ends before the last of its lines is read here; then there is nothing to prompt.
    if (isClosed) ends.output.write(`${text} `);
    else {
      lines.setPrompt(`${text} `);
      lines.prompt();
    }
    const next = await answers.next();
    if (next.done === true)
      throw new CommandFault(EXIT.usage, '\nThe answers ended before the questions did: nothing was written');
    return next.value.trim();
  };
  try {
    say('Enter takes what stands in [ ].\n');
    for (const { option, asks, judge, usual, applies = () => true } of QUESTIONS) {
      if (given.has(option) || !applies(given)) continue;
      const value = usual?.(given);
      for (;;) {
        const typed = await question(`${asks}${value === undefined || value === '' ? '' : ` [${value}]`}:`);
        const answer = typed === '' && value !== undefined ? value : typed;
        const read = answer === '' && value === '' ? { ok: true as const } : judge(answer);
        if (read.ok) {
          given.set(option, answer);
          break;
        }
        say(`  It ${read.problem}${read.hint === undefined ? '' : `: ${read.hint}`}`);
      }
    }
    say(`\n${summary(given).join('\n')}`);
    for (;;) {
      const answer = (await question('Write these files? [y]:')).toLowerCase();
      if (['', 'y', 'yes'].includes(answer)) return true;
      if (['n', 'no'].includes(answer)) return false;
    }
  } finally {
    lines.close();
  }
}
