/**
 * `spool`: where the mail is kept, for the operator. `spool move` puts all of it over into another spool, from a file into
 * a database and back, while no gateway works on either. See docs/spool.md.
 *
 * Exit codes: 0 done, 1 something could not be read and was left, 64 usage, 75 in use, full or cut off: try again, 78
 * configuration.
 */
import type { Command } from './command.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { giveUpMove, moveSpool } from './spool-move.ts';
import type { Side } from './spool-move.ts';

const HELP = `smtp2exchange spool: where the mail is kept

  spool move --to PLACE     puts all mail over, from where the configuration has it, with its history and what is
                            known of pickups; then tells what to write into the configuration
  spool move --from PLACE   the same, to where the configuration has it
  spool move --give-up      the other spool is lost for good: the mail that is here can be used without it

  PLACE                     a file of SQLite, or a database: env:NAME (the environment variable NAME holds its
                            URL), or the URL itself, with \${NAME} as in the configuration
  --to-file, --from-file FILE    instead: the file with the URL
  --config FILE (config.yaml)   --json

Stop every gateway first. It can be cut off at any time, and goes on when it is called again. No gateway starts on a
spool that is half moved.

Exit codes: 0 done, 1 something cannot be read and is left, 64 usage, 75 in use, full or cut off, 78 configuration`;

export const spoolCommand: Command = {
  name: 'spool',
  usage: 'spool move --to PLACE [--config FILE]',
  summary: 'move the mail that waits into another spool, from a file into a database and back (spool --help)',
  help: HELP,
  takesWords: true,
  options: {
    config: { type: 'string', default: 'config.yaml' },
    to: { type: 'string' },
    'to-file': { type: 'string' },
    from: { type: 'string' },
    'from-file': { type: 'string' },
    'give-up': { type: 'boolean' },
    json: { type: 'boolean' },
  },
  async run(values, terminal, [name = '', ...words]) {
    if (name !== 'move') throw usage(name === '' ? 'spool what? There is: move' : `There is no "spool ${name}"`);
    if (words.length > 0) throw usage(`"spool move" takes no "${words[0] ?? ''}" without an option before it`);
    const from = sideOf(values, 'from');
    const to = sideOf(values, 'to');
    const giveUp = values['give-up'] === true;
    if (giveUp && (from !== undefined || to !== undefined))
      throw usage('--give-up is about the spool of the configuration: it goes without --from and --to');
    if (!giveUp && from === undefined && to === undefined)
      throw usage('"spool move" needs --to PLACE, or --from PLACE');
    const configFile = String(values['config']);
    if (giveUp) return await giveUpMove(configFile, terminal);
    return await moveSpool({ configFile, from, to, isJson: values['json'] === true }, terminal);
  },
};

function sideOf(values: Readonly<Record<string, unknown>>, name: 'to' | 'from'): Side | undefined {
  const [at, urlFile] = [values[name], values[`${name}-file`]];
  if (typeof at === 'string' && typeof urlFile === 'string')
    throw usage(`--${name} and --${name}-file name the same: give one of them`);
  if (typeof urlFile === 'string') return { option: `--${name}-file`, place: { urlFile } };
  return typeof at === 'string' ? { option: `--${name}`, place: { at } } : undefined;
}

function usage(problem: string): CommandFault {
  return new CommandFault(EXIT.usage, `${problem}\nMore: smtp2exchange spool --help`);
}
