/** A transport that another one is put in the place of, while attempts are under way. */
import { describe, expect, it } from 'vitest';
import { replaceable } from '../../src/assembly/replaceable.ts';
import type { Replaceable } from '../../src/assembly/replaceable.ts';
import type { QueueItem } from '../../src/mail/item.ts';
import type { Relayed } from '../../src/mail/status.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';

// None of these looks at it.
const outgoing: Outgoing = { item: {} as QueueItem, open: async function* () {} };
const { signal } = new AbortController();

class Fake implements Transport {
  readonly name: string;
  closed = 0;
  readonly waiting: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  deliver(): Promise<Relayed> {
    const relayed: Relayed = { outcome: 'relayed', code: '2.0.0', cause: this.name, text: 'taken' };
    return new Promise((resolve) => this.waiting.push(() => resolve(relayed)));
  }

  verify(): Promise<Relayed> {
    return this.deliver();
  }

  async close(): Promise<void> {
    this.closed++;
  }
}

function bench(): { one: Fake; two: Fake; held: Replaceable; failures: unknown[] } {
  const failures: unknown[] = [];
  const [one, two] = [new Fake('one'), new Fake('two')];
  return {
    one,
    two,
    failures,
    held: replaceable(
      one,
      () => one.close(),
      (error) => failures.push(error),
    ),
  };
}

describe('a transport that is replaced', () => {
  it('ends the attempts that began with it, and is closed after the last; the next ones begin with the other', async () => {
    const { one, two, held } = bench();
    const [first, second] = [held.deliver(outgoing, signal), held.verify(outgoing, signal)];
    held.replace(two, () => two.close());
    expect(held.name).toBe('two');
    const third = held.deliver(outgoing, signal);
    one.waiting[0]?.();
    expect((await first).cause).toBe('one');
    expect(one.closed).toBe(0);
    one.waiting[1]?.();
    await second;
    expect(one.closed).toBe(1);
    two.waiting[0]?.();
    expect((await third).cause).toBe('two');
    await held.close();
    expect([one.closed, two.closed]).toEqual([1, 1]);
  });

  it('is closed at once without attempts, and whatever that says is told', async () => {
    const { two, held, failures } = bench();
    held.replace(two, () => Promise.reject(new Error('in use')));
    held.retire();
    await Promise.resolve();
    expect(failures).toEqual([new Error('in use')]);
  });

  it('is closed at the end with attempts under way, once', async () => {
    const { one, two, held } = bench();
    const attempt = held.deliver(outgoing, signal);
    held.replace(two, () => two.close());
    await held.close();
    one.waiting[0]?.();
    await attempt;
    expect([one.closed, two.closed]).toEqual([1, 1]);
  });
});

describe('a transport that is taken out', () => {
  it('ends what it has begun, and puts off what comes after its end', async () => {
    const { one, held } = bench();
    const attempt = held.deliver(outgoing, signal);
    held.retire();
    expect(one.closed).toBe(0);
    one.waiting[0]?.();
    await attempt;
    expect(one.closed).toBe(1);
    expect(await held.deliver(outgoing, signal)).toMatchObject({ outcome: 'delayed', cause: 'NoSuchRoute' });
    await held.close();
    expect(one.closed).toBe(1);
  });
});
