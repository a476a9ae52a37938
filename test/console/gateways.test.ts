/** What the console of one of several gateways shows of all of them. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { firstBoard, nextBoard } from '../../src/console/board.ts';
import type { AlarmState, BoardState } from '../../src/console/board.ts';
import { lookJson, lookNow } from '../../src/console/look.ts';
import { overviewParts } from '../../src/console/overview.ts';
import { pickupsPage } from '../../src/console/pickups-page.ts';
import type { Member } from '../../src/mail/cluster.ts';
import type { Event } from '../../src/mail/event.ts';
import type { SpoolStats } from '../../src/mail/spool.ts';
import type { Client, Site } from './site.ts';
import { TOKEN, operator, openSite } from './site.ts';

const NOW = Date.UTC(2026, 10, 26, 8, 0, 0);
const QUIET: SpoolStats = { items: { queued: 0, sending: 0, parked: 0, relayed: 0, bounced: 0, dropped: 0 }, bytes: 0 };
const member = (host: string, more: Partial<Member> = {}): Member => ({
  id: `${host}-1`,
  host,
  version: '1.2.3',
  startedAt: NOW - 3_600_000,
  seenAt: NOW - 4_000,
  sending: 0,
  duties: [],
  ...more,
});
const MEMBERS = [member('gw1', { sending: 7 }), member('gw2', { duties: ['alarms', 'pickup fax'], version: '1.3.0' })];
const alarm: AlarmState = {
  reason: 'mailOld',
  severity: 'warning',
  title: 'Mail waits for 2 h',
  text: 'Look at it',
  since: NOW - 60_000,
};

function boardAfter(...events: readonly Event[]): BoardState {
  const first = firstBoard({ routes: ['exchange'], pickups: ['fax'], credentials: new Map() }, NOW);
  return events.reduce((board, event) => nextBoard(board, event, NOW), first);
}

const plain = (page: { toString(): string }): string => page.toString().replaceAll(/<\/?bdi>/g, '');

const look = (board: BoardState, members: () => Promise<readonly Member[]>, alarms = new Map<string, AlarmState>()) =>
  lookNow({
    board: () => board,
    flow: () => ({ accepted: [], delivered: [], failed: [], endsAt: NOW }),
    stats: async () => QUIET,
    ready: () => ({ ready: true, reasons: [] }),
    now: () => NOW,
    patience: 20,
    together: { id: 'gw1-1', members, alarms: () => alarms },
  });

const elsewhere: Event = { event: 'duty.elsewhere', duty: 'pickup fax', pickup: 'fax', other: 'gw3' };
const taken: Event = { event: 'duty.taken', duty: 'pickup fax', pickup: 'fax' };
const lost: Event = { event: 'duty.lost', duty: 'pickup fax', pickup: 'fax', seconds: 60 };
const failed: Event = {
  event: 'pickup.failed',
  pickup: 'fax',
  mailbox: 'fax@contoso.com',
  cause: 'ECONNREFUSED',
  reason: 'refused',
  misconfigured: false,
  until: NOW,
};

describe('the overview', () => {
  it('lists the gateways, which one this is, and their duties', async () => {
    const text = plain(overviewParts(await look(boardAfter(), async () => MEMBERS)));
    const rows = text.split('<table class="cards" id="gateways">')[1]?.split('</table>')[0] ?? '';
    expect(rows).toMatch(/gw1 <span class="quiet">this one<\/span>.*4 s ago.*Sending">7<.*Duties">–</s);
    expect(rows).toMatch(/gw2<\/th>.*1\.3\.0.*Duties">alarms, pickup fax</s);
  });

  it.each<[string, () => Promise<readonly Member[]>]>([
    ['fails', () => Promise.reject(new Error('no store'))],
    ['does not answer', () => new Promise(() => undefined)],
  ])('says that it does not know them when the store %s', async (_, members) => {
    expect(overviewParts(await look(boardAfter(), members)).toString()).toContain(
      'Not known: the store does not answer.',
    );
  });

  it('has nothing of them where there is only one', async () => {
    const site = await openSite();
    const client = await operator(site);
    expect((await client.ask('/')).text).not.toContain('Gateways');
    await site.close();
  });

  it('has the alarms that another gateway tells of', async () => {
    const seen = await look(boardAfter(), async () => MEMBERS, new Map([['mailOld', alarm]]));
    expect(seen.problems).toMatchObject([{ title: 'Mail waits for 2 h', severity: 'warning' }]);
    expect(lookJson(seen, '1.2.3', 'gateway')).toMatchObject({ alarms: [{ alarm: 'mailOld', title: alarm.title }] });
  });
});

describe('a pickup', () => {
  it.each<[string, readonly Event[], readonly Member[], string]>([
    ['of another gateway', [elsewhere], MEMBERS, 'done by gw2'],
    ['of one that is not seen', [elsewhere], [], 'done by gw3'],
    ['of a gateway that is not known', [lost], [], 'done by another gateway'],
    ['of this one', [elsewhere, taken], MEMBERS, 'not looked into yet'],
    ['that failed here is no longer our trouble', [taken, failed, lost], MEMBERS, 'done by gw2'],
  ])('%s: %s', async (_, events, members, expected) => {
    const seen = await look(boardAfter(...events), async () => members);
    expect(plain(overviewParts(seen))).toContain(expected);
    expect(seen.problems).toEqual([]);
  });

  it('has its gateway on its page', async () => {
    const { board } = await look(boardAfter(elsewhere), async () => MEMBERS);
    const state = board.pickups.get('fax');
    if (state === undefined) throw new Error('no pickup');
    expect(plain(pickupsPage([{ name: 'fax', state }], '', NOW))).toContain('<dd>the gateway on gw2</dd>');
  });
});

describe('on a real port', () => {
  let site: Site;
  let client: Client;
  beforeAll(async () => {
    site = await openSite();
    site.together.members = MEMBERS;
    client = await operator(site);
  });
  afterAll(() => site.close());
  beforeEach(() => void (site.together.looked = 'here'));

  it.each([
    ['here', 'fax is being looked into.'],
    [{ host: 'gw2' }, 'fax is being looked into by the gateway on gw2.'],
    ['nobody', 'No gateway picks up for fax at this moment. The one that takes over looks at once.'],
  ] as const)('a mailbox is looked into: %j', async (looked, said) => {
    site.together.looked = looked;
    await client.post('/pickups', [
      ['pickup', 'fax'],
      ['formToken', await client.formToken()],
    ]);
    expect((await client.ask('/pickups')).text.replaceAll(/<\/?bdi>/g, '')).toContain(said);
  });

  it('programs get them as JSON', async () => {
    const response = await fetch(`${site.url}/api/state`, { headers: { authorization: `Bearer ${TOKEN}` } });
    expect(await response.json()).toMatchObject({
      gateways: [
        { id: 'gw1-1', host: 'gw1', sending: 7, isThis: true, startedAt: '2026-11-26T07:00:00.000Z' },
        { host: 'gw2', isThis: false, seenAt: '2026-11-26T07:59:56.000Z', duties: ['alarms', 'pickup fax'] },
      ],
    });
  });
});
