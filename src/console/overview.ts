/** The first page: what is wrong and what to do, then figures, ways out, pickups, listeners, what happened lately. Pure; never fails. */
import type { Member } from '../mail/cluster.ts';
import type { SpoolStats } from '../mail/spool.ts';
import type { AccountState, BoardState, Flow, PickupState, RouteState } from './board.ts';
import { chart } from './chart.ts';
import { clock, count, countOf, day, distance, duration, moment, octets } from './figures.ts';
import { formTokenField } from './layout.ts';
import type { Gateways } from './look.ts';
import type { Markup, Piece } from './markup.ts';
import { markup, shown } from './markup.ts';
import type { Problem } from './problems.ts';

export interface Overview {
  readonly board: BoardState;
  readonly gateways?: Gateways;
  readonly flow: Readonly<Record<Flow, readonly number[]>> & { readonly endsAt: number };
  /** Undefined: the store does not answer. */
  readonly stats: SpoolStats | undefined;
  readonly problems: readonly Problem[];
  readonly now: number;
}

/** Lines of what happened lately, and mailboxes that wait. */
const LATELY = 12;
const LANES = 10;

/** The part that refreshes itself. */
export function overviewParts(overview: Overview): Markup {
  const { board, gateways, flow, stats, problems, now } = overview;
  const { accepted, delivered, failed, endsAt } = flow;
  return markup`${health(problems, now)}
${tiles(stats, now)}
<section aria-labelledby="flow-title"><h2 id="flow-title">Last hour</h2>
<div class="charts">
${chart({ id: 'chart-accepted', title: 'Accepted', values: accepted, endsAt, kind: 'accepted' })}
${chart({ id: 'chart-delivered', title: 'Delivered', values: delivered, endsAt, kind: 'delivered' })}
${chart({ id: 'chart-failed', title: 'Failed', values: failed, endsAt, kind: 'failed' })}
</div></section>
${routes(board, now)}
${board.pickups.size > 0 && pickupTable(board.pickups, now, 'overview')}
${gateways !== undefined && gatewayTable(gateways, now)}
${listeners(board, now)}
${lately(board)}
<p class="quiet refreshed" id="refreshed">As of ${moment(now)}</p>`;
}

export function overviewPage(overview: Overview, formToken: string): Markup {
  return markup`<h1 class="title">Overview</h1>
<div id="live" data-refresh="/live">${overviewParts(overview)}</div>
<form method="post" action="/reload" id="reload">${formTokenField(formToken)}<button>Read the configuration anew</button></form>`;
}

function health(problems: readonly Problem[], now: number): Markup {
  if (problems.length === 0)
    return markup`<section id="health" class="health health-good" aria-labelledby="health-title"><h2 id="health-title"><span class="dot dot-good" aria-hidden="true"></span> Everything works</h2></section>`;
  const critical = problems.filter(({ severity }) => severity === 'critical').length;
  const title =
    critical > 0
      ? `${countOf(critical, 'problem')} ${critical === 1 ? 'needs' : 'need'} you now`
      : `${countOf(problems.length, 'thing')} to look at`;
  return markup`<section id="health" class="health" aria-labelledby="health-title"><h2 id="health-title"><span class="dot dot-${critical > 0 ? 'critical' : 'warning'}" aria-hidden="true"></span> ${title}</h2>
<ul class="problems">${problems.map((problem) => problemItem(problem, now))}</ul></section>`;
}

function problemItem({ severity, title, text, since, link }: Problem, now: number): Markup {
  return markup`<li class="problem problem-${severity}"><div class="problem-head"><span class="tag tag-${severity}">${severity === 'critical' ? 'Critical' : 'Warning'}</span> <h3>${shown(title)}</h3></div>
${paragraphs(text)}
<p class="problem-foot">${since !== undefined && markup`<span class="quiet">since ${moment(since)}, ${duration((now - since) / 1000)}</span>`} ${link !== undefined && markup`<a href="${link.to}">${link.text}</a>`}</p></li>`;
}

function paragraphs(text: string): Piece {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => markup`<p>${shown(line, 2_000)}</p>`);
}

function tile(id: string, name: string, value: Piece, below: Piece, to?: string): Markup {
  const body = markup`<span class="tile-name">${name}</span><span class="tile-value">${value}</span><span class="tile-below quiet">${below}</span>`;
  return to === undefined
    ? markup`<li class="tile" id="${id}">${body}</li>`
    : markup`<li class="tile" id="${id}"><a href="${to}">${body}</a></li>`;
}

function tiles(stats: SpoolStats | undefined, now: number): Markup {
  if (stats === undefined)
    return markup`<ul class="tiles" id="figures">${tile('tile-waiting', 'Queue', '–', 'not known')}</ul>`;
  const { items, oldest, bytes, free } = stats;
  const waiting = items.queued + items.sending;
  return markup`<ul class="tiles" id="figures">
${tile('tile-waiting', 'Waiting', count(waiting), items.sending === 0 ? 'none on its way' : `${count(items.sending)} on their way`, '/messages?state=queued&state=sending')}
${tile('tile-oldest', 'Oldest waiting', oldest === undefined ? '–' : duration((now - oldest) / 1000), oldest === undefined ? 'nothing waits' : markup`since ${moment(oldest)}`)}
${tile('tile-parked', 'Parked', count(items.parked), items.parked === 0 ? 'nothing for you to decide' : 'wait for you', '/messages?state=parked')}
${tile('tile-store', 'Store', octets(bytes), free === undefined ? 'of mail kept' : `${octets(free)} free on the disk`)}
</ul>`;
}

function state(kind: 'good' | 'warning' | 'critical' | 'none', text: Piece): Markup {
  return markup`<span class="state"><span class="dot dot-${kind}" aria-hidden="true"></span> ${text}</span>`;
}

const TRANSPORTS: Readonly<Record<string, string>> = { ews: 'EWS', graph: 'Microsoft Graph', smtp: 'SMTP' };

function routes({ routes: all, accounts, pickups, lanes }: BoardState, now: number): Markup {
  const rows = [...all].filter(([name]) => !pickups.has(name));
  const waiting = [...lanes.values()].filter(({ until }) => until > now).slice(0, LANES);
  return markup`<section aria-labelledby="routes-title"><h2 id="routes-title">Ways out</h2>
<table class="cards" id="routes"><thead><tr><th scope="col">Route</th><th scope="col">State</th><th scope="col">Transport</th><th scope="col">Access token</th><th scope="col">Credential</th></tr></thead>
<tbody>${rows.map(([name, route]) => routeRow(name, route, accounts, now))}</tbody></table>
${waiting.length > 0 && markup`<p class="quiet">Mailboxes that wait: ${waiting.map((lane, at) => markup`${at > 0 && ', '}${shown(lane.mailbox)} (${lane.throttled ? 'throttled' : shown(lane.cause)}, until ${clock(lane.until)})`)}</p>`}
</section>`;
}

function routeRow(name: string, route: RouteState, accounts: ReadonlyMap<string, AccountState>, now: number): Markup {
  const { held, transport, auto, changedAt } = route;
  const how = transport === undefined ? '–' : (TRANSPORTS[transport] ?? transport);
  const account = accounts.get(name) ?? {};
  return markup`<tr><th scope="row" data-label="Route">${name}</th>
<td data-label="State">${held === undefined ? state('good', 'open') : state(held.misconfigured ? 'critical' : 'warning', markup`held: ${shown(held.cause)}, tried next ${distance(held.until, now)}`)}</td>
<td data-label="Transport">${how}${auto === true && markup` <span class="quiet">chosen by itself${changedAt !== undefined && ` since ${day(changedAt)}`}</span>`}</td>
<td data-label="Access token">${token(account, now)}</td>
<td data-label="Credential">${ends(account.credentialEnds, now)}</td></tr>`;
}

function token({ tokenUntil, failing }: AccountState, now: number): Piece {
  if (failing !== undefined)
    return state('critical', markup`none since ${clock(failing.since)}: ${shown(failing.cause)}`);
  if (tokenUntil === undefined) return '–';
  return tokenUntil > now ? markup`good until ${clock(tokenUntil)}` : markup`asked for with the next mail`;
}

const DAY = 86_400_000;

function ends(at: number | undefined, now: number): Piece {
  if (at === undefined) return '–';
  const days = Math.floor((at - now) / DAY);
  const text = markup`${at > now ? 'ends' : 'ended'} ${day(at)} <span class="quiet">${distance(at, now)}</span>`;
  return days < 0 ? state('critical', text) : days < 14 ? state('warning', text) : text;
}

function listeners({ listeners: all }: BoardState, now: number): Markup {
  const rows = [...all].filter(([, { port }]) => port > 0);
  return markup`<section aria-labelledby="listeners-title"><h2 id="listeners-title">Ways in</h2>
<table class="cards" id="listeners"><thead><tr><th scope="col">Listener</th><th scope="col">Address</th><th scope="col">TLS</th><th scope="col">Login</th><th scope="col">Certificate</th></tr></thead>
<tbody>${rows.map(
    ([name, { address, port, tls, auth, certificateEnds }]) =>
      markup`<tr><th scope="row" data-label="Listener">${name}</th><td data-label="Address">${address}:${port}</td><td data-label="TLS">${tls}</td><td data-label="Login">${auth}</td><td data-label="Certificate">${ends(certificateEnds, now)}</td></tr>`,
  )}</tbody></table></section>`;
}

export function pickupState({ failing, other, elsewhere, lastLook }: PickupState): Markup {
  if (failing !== undefined)
    return state(failing.misconfigured ? 'critical' : 'warning', markup`failing: ${shown(failing.cause)}`);
  if (other !== undefined) return state('warning', 'waits for another gateway');
  if (elsewhere !== undefined)
    return state('none', elsewhere === '' ? 'done by another gateway' : markup`done by ${shown(elsewhere)}`);
  return lastLook === undefined ? state('none', 'not looked into yet') : state('good', 'works');
}

function pickupTable(pickups: ReadonlyMap<string, PickupState>, now: number, id: string): Markup {
  return markup`<section aria-labelledby="pickups-title"><h2 id="pickups-title"><a href="/pickups">Pickups</a></h2>
<table class="cards" id="pickups-${id}"><thead><tr><th scope="col">Pickup</th><th scope="col">State</th><th scope="col">Mailbox</th><th scope="col">Last look</th><th scope="col">Lag</th></tr></thead>
<tbody>${[...pickups].map(
    ([name, pickup]) =>
      markup`<tr><th scope="row" data-label="Pickup">${name}</th><td data-label="State">${pickupState(pickup)}</td><td data-label="Mailbox">${pickup.mailbox === undefined ? '–' : shown(pickup.mailbox)}</td><td data-label="Last look">${pickup.lastLook === undefined ? '–' : distance(pickup.lastLook, now)}</td><td data-label="Lag">${pickup.lag === undefined ? '–' : duration(pickup.lag)}</td></tr>`,
  )}</tbody></table></section>`;
}

function gatewayTable({ id, members }: Gateways, now: number): Markup {
  return markup`<section aria-labelledby="gateways-title"><h2 id="gateways-title">Gateways</h2>
${
  members === undefined
    ? markup`<p class="quiet" id="gateways">Not known: the store does not answer.</p>`
    : markup`<table class="cards" id="gateways"><thead><tr><th scope="col">Gateway</th><th scope="col">Version</th><th scope="col">Since</th><th scope="col">Last seen</th><th scope="col">Sending</th><th scope="col">Duties</th></tr></thead>
<tbody>${members.map((member) => gatewayRow(member, member.id === id, now))}</tbody></table>`
}</section>`;
}

function gatewayRow(
  { host, version, startedAt, seenAt, sending, duties }: Member,
  isThis: boolean,
  now: number,
): Markup {
  return markup`<tr><th scope="row" data-label="Gateway">${shown(host)}${isThis && markup` <span class="quiet">this one</span>`}</th>
<td data-label="Version">${shown(version)}</td><td data-label="Since">${moment(startedAt)}</td><td data-label="Last seen">${distance(Math.min(seenAt, now), now)}</td><td data-label="Sending">${count(sending)}</td><td data-label="Duties">${duties.length === 0 ? '–' : shown(duties.join(', '))}</td></tr>`;
}

function lately({ lately: all }: BoardState): Markup {
  return markup`<section aria-labelledby="lately-title"><h2 id="lately-title">Lately</h2>
${
  all.length === 0
    ? markup`<p class="quiet">Nothing worth a line since the start.</p>`
    : markup`<ul class="lately" id="lately">${all.slice(0, LATELY).map(({ at, text, id }) => markup`<li>${moment(at)} <span>${shown(text)}${id !== undefined && markup` <a href="/messages/${id}">its story</a>`}</span></li>`)}</ul>`
}</section>`;
}
