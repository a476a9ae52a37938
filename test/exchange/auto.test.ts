/** The way out that changes over by itself: on which evidence, how often, and what it remembers. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AutoOptions, ChangeOver, ChangeOverStore } from '../../src/exchange/auto.ts';
import { autoTransport } from '../../src/exchange/auto.ts';
import { changeOverFile } from '../../src/exchange/change-over.ts';
import type { Event } from '../../src/mail/event.ts';
import type { Delayed, DeliveryStatus, Relayed, Verification } from '../../src/mail/status.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';

const relayed: Relayed = { outcome: 'relayed', code: '2.0.0', cause: 'NoError', text: 'accepted' };
const closed: Delayed = { outcome: 'delayed', code: '4.3.5', reach: 'transport', cause: 'HTTP 403', text: 'later' };
const busy: Delayed = { ...closed, code: '4.3.2', reach: 'mailbox', cause: 'ErrorServerBusy' };
const outgoing = { item: { mailbox: 'a@contoso.com' } } as Outgoing;
const { signal } = new AbortController();

class Way implements Transport {
  readonly name: string;
  sent = 0;
  looked = 0;
  answer: () => DeliveryStatus | Promise<DeliveryStatus> = () => relayed;
  found: () => Verification = () => ({ outcome: 'absent' });
  constructor(name: string) {
    this.name = name;
  }
  async deliver(): Promise<DeliveryStatus> {
    this.sent++;
    return this.answer();
  }
  async verify(): Promise<Verification> {
    this.looked++;
    return this.found();
  }
  async close(): Promise<void> {}
}

class Memory implements ChangeOverStore {
  kept: ChangeOver | undefined;
  trouble: Error | undefined;
  async load(): Promise<ChangeOver | undefined> {
    return this.kept;
  }
  async save(change: ChangeOver): Promise<void> {
    if (this.trouble) throw this.trouble;
    this.kept = change;
  }
}

let ews: Way;
let graph: Way;
let store: Memory;
let events: Event[];
let now: number;
let renewals: number;
let probes: number;
let opened: boolean;

const auto = (more: Partial<AutoOptions> = {}): Promise<Transport> =>
  autoTransport({
    ews,
    graph,
    route: 'exchange',
    store,
    report: (event) => events.push(event),
    renewToken: async () => void renewals++,
    probe: async () => {
      probes++;
      return opened;
    },
    returnToEws: false,
    now: () => ++now,
    ...more,
  });
const changes = (): Event[] => events.filter(({ event }) => event === 'transport.changed');

beforeEach(() => {
  ews = new Way('ews');
  graph = new Way('graph');
  store = new Memory();
  events = [];
  now = 1_800_000_000_000;
  renewals = 0;
  probes = 0;
  opened = false;
});

describe('the change', () => {
  it('comes with the second refusal in a row, with a new token, and the message goes out in the same attempt', async () => {
    const transport = await auto();
    ews.answer = () => closed;
    expect(transport.name).toBe('ews');
    expect(await transport.deliver(outgoing, signal)).toEqual({ ...closed, code: '4.4.1', retryAfter: 15_000 });
    expect([renewals, changes()]).toEqual([1, []]);
    expect(await transport.deliver(outgoing, signal)).toEqual(relayed);
    expect(transport.name).toBe('graph');
    expect(changes()).toEqual([
      { event: 'transport.changed', route: 'exchange', from: 'ews', to: 'graph', cause: 'HTTP 403' },
    ]);
    expect(store.kept).toMatchObject({ transport: 'graph', cause: 'HTTP 403' });
    for (let n = 0; n < 3; n++) await transport.deliver(outgoing, signal);
    expect([ews.sent, graph.sent, changes().length]).toEqual([2, 4, 1]);
  });

  it.each(['HTTP 403', 'ErrorOrganizationAccessBlocked'])('is for %s', async (cause) => {
    const transport = await auto();
    ews.answer = () => ({ ...closed, cause });
    for (let n = 0; n < 2; n++) await transport.deliver(outgoing, signal);
    expect(transport.name).toBe('graph');
  });

  it.each(['HTTP 401', 'ErrorImpersonationDenied', 'HTTP 503', 'AADSTS7000222'])('is not for %s', async (cause) => {
    const transport = await auto();
    ews.answer = () => ({ ...closed, cause });
    for (let n = 0; n < 10; n++) await transport.deliver(outgoing, signal);
    expect([transport.name, renewals]).toEqual(['ews', 0]);
  });

  it('does not come where another message gets through in between', async () => {
    const transport = await auto();
    for (let n = 0; n < 10; n++) {
      ews.answer = () => (n % 2 === 0 ? closed : relayed);
      await transport.deliver(outgoing, signal);
    }
    expect([transport.name, graph.sent]).toEqual(['ews', 0]);
  });

  it('is not put off by answers that say nothing of the way in', async () => {
    const transport = await auto();
    for (const status of [closed, busy, { ...relayed, outcome: 'unknown', code: '4.4.2' } as DeliveryStatus, closed]) {
      ews.answer = () => status;
      await transport.deliver(outgoing, signal);
    }
    expect(transport.name).toBe('graph');
  });

  it('takes attempts that were under way together for one refusal', async () => {
    const transport = await auto();
    const gate = Promise.withResolvers<void>();
    ews.answer = async () => {
      await gate.promise;
      return closed;
    };
    const all = Array.from({ length: 4 }, () => transport.deliver(outgoing, signal));
    gate.resolve();
    for (const status of await Promise.all(all))
      expect(status).toMatchObject({ cause: 'HTTP 403', retryAfter: 15_000 });
    expect([transport.name, renewals, graph.sent]).toEqual(['ews', 1, 0]);
  });

  it('is one for many attempts at the same time', async () => {
    const transport = await auto();
    ews.answer = () => closed;
    await transport.deliver(outgoing, signal);
    const all = await Promise.all(Array.from({ length: 8 }, () => transport.deliver(outgoing, signal)));
    expect(all).toEqual(all.map(() => relayed));
    expect([graph.sent, changes().length]).toEqual([8, 1]);
  });

  it('comes with the day on which EWS ends, without asking it', async () => {
    const transport = await auto({ ewsEnds: now + 100 });
    await transport.deliver(outgoing, signal);
    now += 100;
    await transport.deliver(outgoing, signal);
    expect([ews.sent, graph.sent]).toEqual([1, 1]);
    expect(changes()).toMatchObject([{ cause: 'EWS has ended' }]);
  });

  it('that cannot be written down does not happen, and the message waits', async () => {
    const transport = await auto();
    ews.answer = () => closed;
    store.trouble = new Error('ENOSPC: no space left on device');
    await transport.deliver(outgoing, signal);
    expect(await transport.deliver(outgoing, signal)).toMatchObject({ outcome: 'delayed', reach: 'transport' });
    expect([transport.name, graph.sent, changes()]).toEqual(['ews', 0, []]);
    store.trouble = undefined;
    expect(await transport.deliver(outgoing, signal)).toEqual(relayed);
    expect(changes().length).toBe(1);
  });

  it('outlives a restart', async () => {
    store.kept = { transport: 'graph', at: now - 1_000, cause: 'HTTP 403' };
    const transport = await auto();
    await transport.deliver(outgoing, signal);
    expect([ews.sent, graph.sent]).toEqual([0, 1]);
    expect(events).toEqual([{ event: 'transport.chosen', route: 'exchange', auto: true, ...store.kept }]);
  });
});

describe('EWS that is open again', () => {
  const HOUR = 3_600_000;
  const told = (): Event[] => events.filter(({ event }) => event === 'transport.probed');
  const send = async (transport: Transport): Promise<void> => {
    await transport.deliver(outgoing, signal);
    // What goes on beside the delivery.
    await new Promise((done) => setImmediate(done));
  };

  beforeEach(() => {
    store.kept = { transport: 'graph', at: now - 1_000, cause: 'HTTP 403' };
  });

  it('is looked at once an hour, told when it differs, and not taken', async () => {
    const transport = await auto();
    await send(transport);
    expect(probes).toBe(0);
    for (let n = 0; n < 5; n++) {
      now += HOUR;
      opened = n >= 2 && n < 4;
      await send(transport);
      await send(transport);
    }
    expect(probes).toBe(5);
    const probed = { event: 'transport.probed', route: 'exchange', transport: 'ews', returns: false };
    expect(told()).toEqual([
      { ...probed, open: true },
      { ...probed, open: false },
    ]);
    expect([transport.name, ews.sent, changes()]).toEqual(['graph', 0, []]);
  });

  it('is taken where that is wanted, and given up again on the same evidence', async () => {
    const transport = await auto({ returnToEws: true });
    now += HOUR;
    opened = true;
    await send(transport);
    expect([transport.name, store.kept?.transport]).toEqual(['ews', 'ews']);
    await send(transport);
    expect([ews.sent, graph.sent]).toEqual([1, 1]);
    ews.answer = () => closed;
    await send(transport);
    await send(transport);
    expect(transport.name).toBe('graph');
    expect(changes()).toMatchObject([
      { from: 'graph', to: 'ews', cause: 'EWS is open again' },
      { from: 'ews', to: 'graph', cause: 'HTTP 403' },
    ]);
  });

  it('and was taken has doubts looked into by Graph still, which may have sent the message', async () => {
    store.kept = { transport: 'ews', at: now - 1_000, cause: 'EWS is open again' };
    const transport = await auto({ returnToEws: true });
    graph.found = () => relayed;
    expect([transport.name, await transport.verify(outgoing, signal)]).toEqual(['ews', relayed]);
    expect([ews.looked, graph.looked]).toEqual([0, 1]);
  });

  it('is not looked at once it has ended, and a look that fails changes nothing', async () => {
    const ended = await auto({ ewsEnds: now, returnToEws: true });
    now += HOUR;
    await send(ended);
    expect(probes).toBe(0);
    const failing = await auto({ returnToEws: true, probe: async () => Promise.reject(new Error('reset')) });
    now += HOUR;
    await send(failing);
    expect([failing.name, told()]).toEqual(['graph', []]);
  });
});

describe('a doubt', () => {
  it('is looked into the present way', async () => {
    const transport = await auto();
    ews.found = () => relayed;
    expect(await transport.verify(outgoing, signal)).toEqual(relayed);
    expect([ews.looked, graph.looked]).toEqual([1, 0]);
  });

  it('that EWS no longer answers is looked into by Graph, and is evidence itself', async () => {
    const transport = await auto();
    ews.found = () => closed;
    graph.found = () => relayed;
    expect(await transport.verify(outgoing, signal)).toMatchObject({ cause: 'HTTP 403', retryAfter: 15_000 });
    expect(await transport.verify(outgoing, signal)).toEqual(relayed);
    expect([transport.name, graph.sent]).toEqual(['graph', 0]);
  });
});

describe('the file', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'smtp2exchange-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('holds what was saved, and nothing at first', async () => {
    const file = changeOverFile(join(folder, 'transport.json'));
    expect(await file.load()).toBeUndefined();
    await file.save({ transport: 'graph', at: 5, cause: 'HTTP 403' });
    expect(await changeOverFile(join(folder, 'transport.json')).load()).toEqual({
      transport: 'graph',
      at: 5,
      cause: 'HTTP 403',
    });
    expect(readdirSync(folder)).toEqual(['transport.json']);
  });

  it.each(['', '{', '[]', '{"at":"x","cause":"y"}', '{"transport":"smtp","at":1,"cause":"y"}'])(
    'with %j says what to do',
    async (text) => {
      writeFileSync(join(folder, 'transport.json'), text);
      await expect(changeOverFile(join(folder, 'transport.json')).load()).rejects.toThrow(
        /transport\.json cannot be read: delete it/,
      );
    },
  );

  it('in a folder that is not there is an error of the system', async () => {
    await expect(
      changeOverFile(join(folder, 'none/transport.json')).save({ transport: 'graph', at: 1, cause: 'x' }),
    ).rejects.toThrow('ENOENT');
  });
});
