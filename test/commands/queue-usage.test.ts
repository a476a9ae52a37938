/** What makes no sense on the command line of `queue` is told before anything is opened. */
import { describe, expect, it } from 'vitest';
import { filterOf } from '../../src/commands/queue-choice.ts';
import { queueCommand } from '../../src/commands/queue.ts';
import type { Terminal } from '../../src/commands/outcome.ts';

const silent: Terminal = {
  print: () => undefined,
  complain: () => undefined,
  write: async () => undefined,
  progress: () => undefined,
  stop: new AbortController().signal,
  onReload: () => undefined,
};

const nowhere = { config: '/nowhere/config.yaml' };

describe('the command line', () => {
  it.each([
    [[], {}, 'queue what?'],
    [['explode'], {}, 'There is no "queue explode"'],
    [['toString'], {}, 'There is no "queue toString"'],
    [['list', '01k9'], {}, 'takes no ids'],
    [['list'], { yes: true }, 'does not take --yes'],
    [['list'], { state: ['lost'] }, '--state takes'],
    [['list'], { limit: '0' }, '--limit takes'],
    [['list'], { older: '5' }, '--older needs a unit'],
    [['show'], {}, 'takes one id'],
    [['show', 'a', 'b'], {}, 'takes one id'],
    [['show', '../etc'], {}, 'is no id'],
    [['retry'], {}, 'Which?'],
    [['retry'], { limit: '5' }, 'Which?'],
    [['retry', '01k9'], { sender: 'a@b.c' }, 'not both'],
    [['drop'], { yes: true }, 'Which?'],
    [['move', '01k9'], {}, 'needs --mailbox'],
    [['move'], { mailbox: 'a@b.c' }, 'Which?'],
    [['move', '01k9'], { mailbox: 'nobody' }, 'takes an e-mail address'],
    [['export', '01k9'], {}, 'needs --to'],
    [['export'], { to: '-' }, 'takes one id'],
    [['check', '01k9'], {}, 'takes no ids'],
  ])('%j with %j is a usage error', async (words, values, why) => {
    await expect(queueCommand.run({ ...nowhere, ...values }, silent, words)).rejects.toMatchObject({
      exitCode: 64,
      message: expect.stringContaining(why) as string,
    });
  });

  it('that makes sense gets as far as the configuration', async () => {
    await expect(queueCommand.run(nowhere, silent, ['list'])).rejects.toMatchObject({ exitCode: 78 });
  });

  it('is described whole', () => {
    for (const word of ['list', 'show', 'retry', 'hold', 'release', 'move', 'drop', 'export', 'check'])
      expect(queueCommand.help).toContain(`queue ${word}`);
    for (const option of Object.keys(queueCommand.options)) expect(queueCommand.help).toContain(`--${option}`);
  });
});

describe('a filter', () => {
  const all = new Set(['state', 'mailbox', 'sender', 'recipient', 'message-id', 'older', 'newer', 'route']);
  it.each([
    [{}, {}],
    [{ state: ['queued,parked', 'sending'] }, { states: ['queued', 'parked', 'sending'] }],
    [{ state: ['all'] }, { states: ['queued', 'sending', 'parked', 'relayed', 'bounced', 'dropped'] }],
    [{ 'all-parked': true }, { states: ['parked'] }],
    [{ mailbox: 'Fax@Contoso.com' }, { mailbox: 'fax@contoso.com' }],
    [{ sender: '<>' }, { sender: '' }],
    [
      { recipient: '*@pbx.local', 'message-id': '<x@y>' },
      { recipient: '*@pbx.local', messageId: '<x@y>' },
    ],
    [
      { older: '1h', newer: '2d' },
      { arrivedBefore: -3_600_000, arrivedFrom: -172_800_000 },
    ],
  ])('%j is %j', (values, filter) => {
    expect(filterOf(values, all, 0)).toEqual(filter);
  });

  it('of a move has no mailbox: that is where it goes', () => {
    const values = { mailbox: 'to@contoso.com', 'from-mailbox': 'from@contoso.com' };
    expect(filterOf(values, new Set(['from-mailbox']), 0)).toEqual({ mailbox: 'from@contoso.com' });
  });
});
