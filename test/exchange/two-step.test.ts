/**
 * Sending in two steps in front of the sandbox, with the answer lost, the draft changed or the process killed at each point
 * where that can happen: delivered exactly once, and nothing left in Drafts. The attempts follow each other as the queue
 * makes them.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Drafts, Ews } from '../../src/exchange/ews.ts';
import { exchangeTransport } from '../../src/exchange/send.ts';
import type { HistoryEntry, QueueItem } from '../../src/mail/item.ts';
import type { Delayed, DeliveryStatus } from '../../src/mail/status.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';
import { attempt } from '../../src/queue/attempt.ts';
import type { Fault, Misbehaviour } from '../../src/sandbox/fault.ts';
import { clientOf, envelope, startPeer } from './ews-peer.ts';
import { openSite, outgoing, SENDER, type Site } from './sandbox-site.ts';

const READER = 'reader@contoso.test';
const MAIL = Buffer.from(
  `From: ${SENDER}\r\nTo: ${READER}\r\nSubject: large\r\nMessage-ID: <large@app.test>\r\n\r\n${'x'.repeat(20_000)}\r\n`,
);

let site: Site;

function large(octets: Buffer = MAIL): Outgoing {
  const message = outgoing(octets, [READER]);
  return { ...message, item: { ...message.item, messageId: '<large@app.test>' } };
}

beforeEach(async () => {
  site = await openSite('replace', [READER]);
});
afterEach(async () => await site.close());

class Killed extends Error {}

/** The real operations with some of them replaced, and a list of what was asked. */
function watched(change: (real: Drafts) => Partial<Drafts> = () => ({})): { ews: Ews; asked: string[] } {
  const asked: string[] = [];
  const real = site.ews.drafts;
  const drafts = { ...real, ...change(real) };
  const told = <Args extends unknown[], Answer>(name: string, call: (...args: Args) => Answer) => {
    return (...args: Args): Answer => {
      asked.push(name);
      return call(...args);
    };
  };
  return {
    asked,
    ews: {
      send: told('one step', (message, signal) => site.ews.send(message, signal)),
      find: (search, signal) => site.ews.find(search, signal),
      drafts: {
        save: told('save', drafts.save),
        send: told('send', drafts.send),
        get: drafts.get,
        find: drafts.find,
        remove: drafts.remove,
      },
    },
  };
}

interface Run {
  readonly statuses: readonly DeliveryStatus[];
  readonly found: readonly string[];
}

/** Attempts until the item ends, as the queue and a spool would make them. */
async function deliver(transport: Transport, message: Outgoing, change: Partial<QueueItem> = {}): Promise<Run> {
  const history: HistoryEntry[] = [];
  const statuses: DeliveryStatus[] = [];
  const found: string[] = [];
  let item: QueueItem = { ...message.item, ...change, attempts: 0 };
  const journal = {
    last: async () => history.findLast(({ what }) => what === 'step')?.detail,
    write: async (detail: string) => void history.push({ at: 0, what: 'step', detail }),
  };
  for (let tries = 0; tries < 8; tries++) {
    item = { ...item, attempts: item.attempts + 1 };
    let killed = false;
    const { status, doubtful } = await attempt(
      { item, open: message.open, journal },
      {
        transport,
        report: (event) => {
          if (event.event === 'bug') killed = event.error instanceof Killed;
          if (event.event === 'bug' && !killed) throw event.error;
          if (event.event === 'delivery.verified') found.push(event.found);
        },
        history: async () => history,
      },
      new AbortController().signal,
    );
    if (killed) {
      history.push({ at: 0, what: 'recovered' });
      item = { ...item, doubtful: true };
      continue;
    }
    statuses.push(status);
    if (status.outcome === 'relayed' || status.outcome === 'failed') return { statuses, found };
    history.push({ at: 0, what: status.outcome === 'unknown' ? 'unknown' : 'delayed', status });
    item = { ...item, doubtful, lastStatus: status };
  }
  throw new Error(`no end: ${JSON.stringify(statuses)}`);
}

function lost(operation: string, does: Misbehaviour, count = 1): Fault {
  return { when: { operation, count }, does };
}

function isClean(saveToSentItems: boolean): void {
  const { drafts, sentitems, outbox } = site.sandbox.mailbox(SENDER);
  expect(site.sandbox.mailbox(READER).inbox.length).toBe(1);
  expect({ drafts: drafts.length, outbox: outbox.length }).toEqual({ drafts: 0, outbox: 0 });
  expect(sentitems.length).toBe(saveToSentItems ? 1 : 0);
}

const before: Misbehaviour = { cut: 'beforeActing' };
const after: Misbehaviour = { cut: 'afterActing' };

interface Case {
  readonly what: string;
  readonly faults?: readonly Fault[];
  readonly change?: (real: Drafts) => Partial<Drafts>;
  readonly asked: readonly string[];
  /** Outcomes of the attempts that ended. */
  readonly outcomes: readonly string[];
  /** Cannot come to pass where a copy is kept. */
  readonly withoutCopy?: true;
}

/** Does it once; the real thing from then on. */
function once<Args extends unknown[], Answer>(
  call: (...args: Args) => Promise<Answer>,
  first: (...args: Args) => Promise<Answer>,
): (...args: Args) => Promise<Answer> {
  let isFirst = true;
  return async (...args) => {
    if (!isFirst) return await call(...args);
    isFirst = false;
    return await first(...args);
  };
}

/** Delayed so often only: the item may end with it, so its draft is removed. */
async function nobodyKnows(): Promise<Delayed> {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    capped: true,
    cause: 'ErrorNobodyKnows',
    text: 'later',
  };
}

const unsearchable: Drafts['find'] = async () => ({
  ok: false,
  status: { outcome: 'failed', code: '5.3.0', cause: 'HTTP 400', text: 'no' },
});

const unanswerable: Drafts['get'] = async () => ({
  ok: false,
  status: { outcome: 'failed', code: '5.3.0', cause: 'HTTP 400', text: 'no' },
});

const cases: readonly Case[] = [
  { what: 'nothing goes wrong', asked: ['save', 'send'], outcomes: ['relayed'] },
  {
    what: 'the upload is cut before it was taken',
    faults: [lost('CreateItem', before)],
    asked: ['save', 'save', 'send'],
    outcomes: ['delayed', 'relayed'],
  },
  {
    what: 'the answer to the upload is lost: its draft is found',
    faults: [lost('CreateItem', after)],
    asked: ['save', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'the answer to the upload ends in its middle',
    faults: [lost('CreateItem', { cut: 'inAnswer' })],
    asked: ['save', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'the answer to the upload is lost and its draft cannot be looked for at once',
    faults: [lost('CreateItem', after), lost('FindItem', before)],
    asked: ['save', 'send'],
    outcomes: ['delayed', 'relayed'],
  },
  {
    what: 'the answer to the upload is lost and its draft shows too late: made again, the orphan removed',
    faults: [lost('CreateItem', after)],
    change: ({ find }) => {
      const nothing: Drafts['find'] = async () => ({ ok: true, drafts: [] });
      return { find: once(once(find, nothing), nothing) };
    },
    asked: ['save', 'save', 'send'],
    outcomes: ['delayed', 'relayed'],
  },
  {
    what: 'SendItem is cut before it acts',
    faults: [lost('SendItem', before)],
    asked: ['save', 'send', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'the answer to SendItem is lost',
    faults: [lost('SendItem', after)],
    asked: ['save', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'SendItem acts, and the answers to it and to GetItem are lost',
    faults: [lost('SendItem', after), lost('GetItem', before)],
    asked: ['save', 'send'],
    outcomes: ['unknown', 'relayed'],
  },
  {
    what: 'SendItem does not act, and the answers to it and to GetItem are lost',
    faults: [lost('SendItem', before), lost('GetItem', before)],
    asked: ['save', 'send', 'send'],
    outcomes: ['unknown', 'relayed'],
  },
  {
    what: 'SendItem never answers and never acts for three attempts',
    faults: [lost('SendItem', before, 6)],
    asked: ['save', ...Array.from({ length: 6 }, () => 'send'), 'send'],
    outcomes: ['unknown', 'unknown', 'unknown', 'relayed'],
  },
  {
    what: 'a second SendItem meets what the first one has sent meanwhile',
    faults: [lost('SendItem', before)],
    change: ({ get, send }) => ({
      get: once(get, async (mailbox, id, signal) => {
        const seen = await get(mailbox, id, signal);
        if (seen.ok && seen.state !== 'gone') await send(mailbox, seen.state, saves, signal);
        return seen;
      }),
    }),
    asked: ['save', 'send', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'SendItem is refused for the moment: the draft waits',
    faults: [lost('SendItem', { responseCode: 'ErrorServerBusy' })],
    asked: ['save', 'send', 'send'],
    outcomes: ['delayed', 'relayed'],
  },
  {
    what: 'a code nobody knows takes the draft away, and the process is killed right then',
    change: ({ remove, send }) => ({
      remove: once(remove, async (...args) => {
        await remove(...args);
        throw new Killed();
      }),
      send: once(send, async () => nobodyKnows()),
    }),
    asked: ['save', 'send', 'save', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'a code nobody knows takes the draft away, and the process is killed in the next attempt',
    change: ({ find, send }) => ({
      find: once(find, async () => Promise.reject(new Killed())),
      send: once(send, async () => nobodyKnows()),
    }),
    asked: ['save', 'send', 'save', 'send'],
    outcomes: ['delayed', 'relayed'],
  },
  {
    what: 'somebody deletes the draft before it is sent',
    change: ({ save, remove }) => ({
      save: once(save, async (message, signal) => {
        const saved = await save(message, signal);
        if (saved.ok) await remove(SENDER, saved.draft.id, signal);
        return saved;
      }),
    }),
    asked: ['save', 'send', 'save', 'send'],
    outcomes: ['delayed', 'relayed'],
  },
  {
    what: 'the draft has another change key by then',
    change: ({ save }) => ({
      save: once(save, async (message, signal) => {
        const saved = await save(message, signal);
        return saved.ok ? { ...saved, draft: { ...saved.draft, changeKey: 'AAAA' } } : saved;
      }),
    }),
    asked: ['save', 'send', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'the process is killed in the upload',
    change: ({ save }) => ({ save: once(save, async () => Promise.reject(new Killed())) }),
    asked: ['save', 'save', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'the process is killed when the draft was saved',
    change: ({ save }) => ({
      save: once(save, async (...args) => {
        await save(...args);
        throw new Killed();
      }),
    }),
    asked: ['save', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'the process is killed before SendItem acts',
    change: ({ send }) => ({ send: once(send, async () => Promise.reject(new Killed())) }),
    asked: ['save', 'send', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'the process is killed when SendItem has acted',
    change: ({ send }) => ({
      send: once(send, async (...args) => {
        await send(...args);
        throw new Killed();
      }),
    }),
    asked: ['save', 'send'],
    outcomes: ['relayed'],
  },
  {
    what: 'a code nobody knows, of the search for it, takes the draft away, and the process is killed right then',
    faults: [lost('SendItem', { responseCode: 'ErrorServerBusy' })],
    change: ({ find, remove }) => ({
      find: once(find, async () => ({ ok: false, status: await nobodyKnows() })),
      remove: once(remove, async (...args) => {
        await remove(...args);
        throw new Killed();
      }),
    }),
    asked: ['save', 'send', 'save', 'send'],
    outcomes: ['delayed', 'relayed'],
  },
  {
    what: 'Exchange refuses to tell of the draft after a lost answer',
    faults: [lost('SendItem', after)],
    change: ({ get }) => ({ get: once(once(get, unanswerable), unanswerable) }),
    asked: ['save', 'send'],
    outcomes: ['unknown', 'delayed', 'relayed'],
    withoutCopy: true,
  },
  {
    what: 'a first draft cannot be found, and the process is killed when the second one was sent',
    change: ({ save, find, send }) => ({
      save: once(save, async (...args) => {
        await save(...args);
        throw new Killed();
      }),
      find: once(once(find, unsearchable), unsearchable),
      send: once(send, async (...args) => {
        await send(...args);
        throw new Killed();
      }),
    }),
    asked: ['save', 'save', 'send'],
    outcomes: ['relayed'],
    withoutCopy: true,
  },
];

let saves = true;

describe.each([
  { saveToSentItems: true, what: 'with a copy in Sent Items' },
  { saveToSentItems: false, what: 'without a copy' },
])('a large message $what goes once, and leaves no draft, when', ({ saveToSentItems }) => {
  it.each(cases.filter(({ withoutCopy }) => !(withoutCopy && saveToSentItems)))(
    '$what',
    async ({ faults = [], change, asked, outcomes }) => {
      saves = saveToSentItems;
      for (const fault of faults) site.sandbox.fault(fault);
      const peek = watched(change);
      const transport = exchangeTransport({ ews: peek.ews, saveToSentItems, twoStepAbove: 10_000 });
      const { statuses, found } = await deliver(transport, large());
      expect(statuses.map(({ outcome }) => outcome)).toEqual(outcomes);
      expect(peek.asked).toEqual(asked);
      expect(found).not.toContain('unknowable');
      isClean(saveToSentItems);
      expect(site.sandbox.arrived()[0]?.submitted.equals(MAIL)).toBe(true);
    },
  );

  it('but is gone from Drafts too when it is refused', async () => {
    site.sandbox.fault(lost('SendItem', { responseCode: 'ErrorSendAsDenied' }));
    const transport = exchangeTransport({ ews: site.ews, saveToSentItems, twoStepAbove: 10_000 });
    const { statuses } = await deliver(transport, large());
    expect(statuses.map(({ outcome }) => outcome)).toEqual(['failed']);
    expect(site.sandbox.arrived()).toEqual([]);
    expect(site.sandbox.mailbox(SENDER).drafts).toEqual([]);
  });

  it('and is in doubt, not uploaded again, if it is given up with a draft left', async () => {
    const given = new AbortController();
    const { ews } = watched(({ save }) => ({
      save: async (message, signal) => {
        const saved = await save(message, signal);
        given.abort();
        return saved;
      },
    }));
    const transport = exchangeTransport({ ews, saveToSentItems, twoStepAbove: 10_000 });
    const message = large();
    expect(await transport.deliver(message, given.signal)).toMatchObject({ outcome: 'unknown', cause: 'ABORTED' });
    const again = watched();
    const next = exchangeTransport({ ews: again.ews, saveToSentItems, twoStepAbove: 10_000 });
    await deliver(next, message, { doubtful: true });
    expect(again.asked).toEqual(['send']);
    isClean(saveToSentItems);
  });
});

describe('which way', () => {
  it.each([
    { what: 'at the size', header: '', above: MAIL.length, asked: ['one step'] },
    { what: 'above it', header: '', above: MAIL.length - 1, asked: ['save', 'send'] },
    { what: 'precious', header: 'X-Precious:  YES \r\n', above: Infinity, asked: ['save', 'send'] },
    { what: 'not precious', header: 'X-Precious: no\r\n', above: Infinity, asked: ['one step'] },
  ])('$what: $asked, and the field goes no further', async ({ header, above, asked }) => {
    const peek = watched();
    const transport = exchangeTransport({
      ews: peek.ews,
      saveToSentItems: true,
      twoStepAbove: above,
      carryHeaders: ['X-Precious'],
    });
    await deliver(transport, large(Buffer.concat([Buffer.from(header), MAIL])));
    expect(peek.asked).toEqual(asked);
    expect(site.sandbox.arrived()[0]?.submitted.equals(MAIL)).toBe(true);
    expect(JSON.stringify(site.sandbox.arrived()[0]?.extended)).not.toMatch(/precious/i);
    isClean(true);
  });
});

describe('a server that leaves the draft when it has sent it (Gromox)', () => {
  it('has it deleted, and gets what follows in one step', async () => {
    const peer = await startPeer();
    const client = await clientOf(peer.url);
    const item = '<t:Message><t:ItemId Id="AAMk1234567890abcd" ChangeKey="CQAA"/></t:Message>';
    const operations: string[] = [];
    peer.answer = ({ body }, response) => {
      const operation = /<m:(\w+Item)[ >]/.exec(body.toString('latin1'))?.[1] ?? '';
      operations.push(operation);
      const list = operation === 'SendItem' ? 'Responses' : 'ResponseMessages';
      const items = operation === 'CreateItem' ? `<m:Items>${item}</m:Items>` : '';
      const message = `<m:${operation}ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>${items}</m:${operation}ResponseMessage>`;
      response.end(envelope(`<m:${operation}Response><m:${list}>${message}</m:${list}></m:${operation}Response>`));
    };
    const transport = exchangeTransport({ ews: client.ews, saveToSentItems: true, twoStepAbove: 10_000 });
    for (let mail = 0; mail < 2; mail++) expect((await deliver(transport, large())).statuses.length).toBe(1);
    expect(operations).toEqual(['CreateItem', 'SendItem', 'DeleteItem', 'CreateItem']);
    await client.close();
    await peer.close();
  });
});
