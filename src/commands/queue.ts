/**
 * `queue`: the mail that waits, for the operator. Looks at it, tries it again, holds, moves, drops, reads it out, checks
 * the spool; through the running gateway, or in the spool itself while none runs. See docs/queue.md.
 *
 * Exit codes: 0 done, 1 not done for some (which, and why, is told), 64 usage, 75 cannot be reached, 78 configuration.
 */
import type { Command } from './command.ts';
import type { QueueItem } from '../mail/item.ts';
import { SpoolError } from '../mail/spool.ts';
import type { ExitCode, Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { actCommand } from './queue-act.ts';
import type { Call } from './queue-call.ts';
import { FILTER_OPTIONS, filterOf, idsOf, limitOf, pagesOf, usage } from './queue-choice.ts';
import { exportMessage } from './queue-export.ts';
import type { Reached } from './queue-reach.ts';
import { reach } from './queue-reach.ts';
import { COLUMNS, countOf, itemJson, json, NOT_DONE, plain, row, storyJson, storyText, table } from './queue-text.ts';

interface Subcommand {
  readonly options: readonly string[];
  run(call: Call): Promise<ExitCode>;
}

const FILTER = ['state', 'route', 'sender', 'recipient', 'message-id', 'older', 'newer', 'limit'];
const ACT = [...FILTER, 'mailbox', 'all-parked', 'json'];

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
  list: { options: [...FILTER, 'mailbox', 'json'], run: list },
  show: { options: ['json'], run: show },
  retry: { options: ACT, run: (call) => actCommand('retry', call) },
  hold: { options: ACT, run: (call) => actCommand('hold', call) },
  release: { options: ACT, run: (call) => actCommand('release', call) },
  move: { options: [...ACT, 'from-mailbox', 'stay'], run: (call) => actCommand('move', call) },
  drop: { options: [...ACT, 'yes'], run: (call) => actCommand('drop', call) },
  export: { options: ['to'], run: exportMessage },
  check: { options: ['json'], run: check },
};

const HELP = `smtp2exchange queue: the mail that waits

  queue list [FILTER] [--json]              what waits (--state all: what has ended too)
  queue show ID [--json]                    one item: its facts, and its history as a story
  queue retry   ID... | FILTER | --all-parked   try it at once
  queue hold    ID... | FILTER              park it until somebody releases it
  queue release ID... | FILTER | --all-parked   what is parked goes back to the queue, due at once
  queue move    ID... | FILTER --mailbox A [--route R] [--stay]
                                            send it as another mailbox or by another route, at once
                                            (--stay: leave it parked or due as it is)
  queue drop    ID... | FILTER --yes        end it without delivering it; its body is gone
  queue export  ID --to FILE|-              the message as it lies in the spool (.eml)
  queue check [--json]                      read the whole spool: is everything as it was written?

  FILTER  --state queued,sending,parked,relayed,bounced,dropped|all   --route R
          --mailbox A (the mailbox that sends; with move: --from-mailbox A)
          --sender A   --recipient A   (an address, a pattern such as *@pbx.local, or a piece; "<>": no sender)
          --message-id M   --older 1h   --newer 1h   --limit N
  All     --config FILE (config.yaml)   --json

Exit codes: 0 done, 1 not done for some, 64 usage, 75 the gateway or the spool cannot be reached, 78 configuration`;

export const queueCommand: Command = {
  name: 'queue',
  usage: 'queue WHAT [--config FILE]',
  summary: 'the mail that waits: list, show, retry, hold, release, move, drop, export, check (queue --help)',
  help: HELP,
  takesWords: true,
  options: {
    config: { type: 'string', default: 'config.yaml' },
    json: { type: 'boolean' },
    yes: { type: 'boolean' },
    stay: { type: 'boolean' },
    to: { type: 'string' },
    ...FILTER_OPTIONS,
  },
  async run(values, terminal, [name = '', ...words]) {
    const subcommand = Object.hasOwn(SUBCOMMANDS, name) ? SUBCOMMANDS[name] : undefined;
    if (subcommand === undefined) {
      const known = Object.keys(SUBCOMMANDS).join(', ');
      throw usage(name === '' ? `queue what? One of: ${known}` : `There is no "queue ${name}". There are: ${known}`);
    }
    const strange = Object.keys(values).find((option) => option !== 'config' && !subcommand.options.includes(option));
    if (strange !== undefined) throw usage(`"queue ${name}" does not take --${strange}`);
    let reached: Reached | undefined;
    try {
      return await subcommand.run({
        values,
        words,
        terminal,
        reach: async () => (reached ??= await reach(String(values['config']), (line) => terminal.complain(line))),
      });
    } catch (error) {
      // Through a gateway the door says the same.
      if (error instanceof SpoolError) throw new CommandFault(EXIT.temporary, error.message, { cause: error });
      throw error;
    } finally {
      terminal.progress('');
      await reached?.close();
      await flushed(terminal);
    }
  },
};

const LIST_LIMIT = 100;
const WAITING = ['queued', 'sending', 'parked'] as const;

async function list({ values, words, terminal, reach }: Call): Promise<ExitCode> {
  if (words.length > 0) throw usage('"queue list" takes no ids; "queue show ID" tells of one');
  const asked = filterOf(values, new Set(Object.keys(values)), Date.now());
  const filter = asked.states === undefined ? { ...asked, states: WAITING } : asked;
  const limit = limitOf(values, LIST_LIMIT);
  const { operations } = await reach();
  const isJson = values['json'] === true;
  let shown = 0;
  let isMore = false;
  // One more than is shown, to see whether there is more.
  for await (const page of pagesOf(operations, filter, limit + 1)) {
    const items = page.slice(0, limit - shown);
    for (const line of isJson ? jsonLines(items, shown === 0) : tableLines(items, shown === 0)) terminal.print(line);
    shown += items.length;
    isMore = items.length < page.length;
    if (terminal.stop.aborted || !(await flushed(terminal))) return EXIT.failed;
  }
  if (isJson) terminal.print(shown === 0 ? '[]' : ']');
  else if (shown === 0) terminal.complain(asked.states === undefined ? NOTHING_WAITS : 'There is nothing like that');
  if (isMore) terminal.complain(`These are the first ${shown}; there is more (--limit N, or a filter)`);
  return EXIT.done;
}

const NOTHING_WAITS = 'Nothing like that waits (--state all: what has ended too)';

function jsonLines(items: readonly QueueItem[], isFirst: boolean): readonly string[] {
  return items.map((item, index) => `${isFirst && index === 0 ? '[' : ','}${json(itemJson(item))}`);
}

function tableLines(items: readonly QueueItem[], isFirst: boolean): readonly string[] {
  return table([...(isFirst ? [COLUMNS] : []), ...items.map(row)]);
}

/** What was printed has left this process, which would end without it. False: nobody reads it. */
async function flushed(terminal: Terminal): Promise<boolean> {
  return terminal.write(new Uint8Array()).then(
    () => true,
    () => false,
  );
}

async function show({ values, words, terminal, reach }: Call): Promise<ExitCode> {
  const [id, ...more] = idsOf(words);
  if (id === undefined || more.length > 0) throw usage('"queue show" takes one id');
  const { operations } = await reach();
  const story = await operations.show(id);
  if (story === undefined) throw new CommandFault(EXIT.failed, `${id}: ${NOT_DONE.absent}`);
  if (values['json'] === true) terminal.print(json(storyJson(story)));
  else for (const line of storyText(story)) terminal.print(line);
  return EXIT.done;
}

async function check({ values, words, terminal, reach }: Call): Promise<ExitCode> {
  if (words.length > 0) throw usage('"queue check" checks everything, it takes no ids');
  const { operations } = await reach();
  const begun = Date.now();
  const tell = (): void => terminal.progress(`Reading the whole spool… ${Math.round((Date.now() - begun) / 1000)} s`);
  tell();
  const ticks = setInterval(tell, 1_000);
  const { checked, damaged, store } = await operations.check().finally(() => {
    clearInterval(ticks);
    terminal.progress('');
  });
  const isSound = damaged.length === 0 && store === undefined;
  if (values['json'] === true) {
    terminal.print(json({ checked, damaged, ...(store === undefined ? {} : { store }) }));
    return isSound ? EXIT.done : EXIT.failed;
  }
  if (store !== undefined) terminal.print(`The store is damaged: ${plain(store)}`);
  for (const { id, why } of damaged) terminal.print(`${id}  ${plain(why)}`);
  terminal.print(
    isSound
      ? `${countOf(checked)} checked, all as they were written`
      : `${countOf(checked)} checked, ${damaged.length} damaged${damaged.length > 0 ? ': see "queue show ID", save what is left with "queue export ID", then tell the sender and "queue drop ID"' : ''}`,
  );
  return isSound ? EXIT.done : EXIT.failed;
}
