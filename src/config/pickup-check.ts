/**
 * What the settings of pickup demand of each other and of the rest: one way to hand mail over, which does not lead back to
 * this gateway, an account that can read, and rules whose examples hold. Looks at what could be read; never fails.
 */
import { isAt } from './channels.ts';
import type { Path } from './fault.ts';
import { isLoopback } from './network.ts';
import { PROCESSED } from './pickup.ts';
import { checkRecipients } from './pickup-recipients.ts';
import { accountsIn, DEFAULT_ROUTE } from './routes.ts';
import type { Context, SoundAccount, SoundPickup, SoundSettings } from './sound.ts';
import { suggest } from '../mail/suggest.ts';

export function checkPickups(settings: SoundSettings, context: Context): void {
  const { pickup = [] } = settings;
  pickup.forEach((one, index) => {
    if (one === undefined) return;
    const path = ['pickup', index];
    checkWay(one, path, settings, context);
    checkAfter(one, path, context);
    checkFolders(one, path, context);
    checkRoute(one, path, settings, context);
    checkRecipients(one, path, context);
  });
  checkNames(settings, context);
  checkSources(settings, context);
  checkCircles(settings, context);
  checkDoor(settings, context);
}

const WAYS = ['smtp', 'folder', 'webhook', 'command', 'pop3'] as const;

function checkWay(one: SoundPickup, base: Path, settings: SoundSettings, context: Context): void {
  const { fault, wasGiven, isWhole } = context;
  const path = [...base, 'deliver'];
  const [first, ...more] = WAYS.filter((way) => wasGiven([...path, way]));
  if (first === undefined && isWhole(path)) fault(path, 'hands mail to nobody', `add one of ${WAYS.join(', ')}`);
  for (const way of more)
    fault([...path, way], `is given, and ${first} too`, 'make an entry of its own, of another folder, for each');
  const twice = (own: Path, key: string, file: string): void => {
    if (wasGiven([...own, key]) && wasGiven([...own, file]))
      fault([...own, file], `is given, and ${key} too`, 'remove one of the two');
  };
  twice([...path, 'webhook'], 'secret', 'secretFile');
  twice([...path, 'webhook'], 'authorization', 'authorizationFile');
  twice([...path, 'smtp'], 'password', 'passwordFile');
  checkServer(one, base, settings, context);
}

function checkServer({ deliver }: SoundPickup, base: Path, { listeners }: SoundSettings, context: Context): void {
  const { fault, wasGiven, isWhole } = context;
  const path = [...base, 'deliver', 'smtp'];
  if (!wasGiven(path)) return;
  const { host, port, tls, username } = deliver?.smtp ?? {};
  const own = listeners?.findIndex((listener) => listener !== undefined && isAt(listener, host, port)) ?? -1;
  if (own >= 0)
    fault([...path, 'host'], `is this gateway: listeners[${own}] has that address and port`, 'name another server');
  if (!wasGiven([...path, 'to']) && !wasGiven([...base, 'recipients']) && isWhole(path))
    fault(path, 'has no recipient', 'add to, or recipients that find one in the mail');
  const hasPassword = wasGiven([...path, 'password']) || wasGiven([...path, 'passwordFile']);
  if (username === undefined && hasPassword && isWhole(path))
    fault(path, 'has a password, but no username', 'add username, or remove the password');
  if (username !== undefined && !hasPassword)
    fault([...path, 'username'], 'is given, but no password', 'add password or passwordFile');
  if (username !== undefined && tls === 'none' && !isLoopback(host ?? ''))
    fault([...path, 'tls'], 'is none: the login would cross the network readable', 'set it to required or implicit');
}

function checkAfter({ after }: SoundPickup, base: Path, { fault, wasGiven }: Context): void {
  const path = [...base, 'after'];
  const [first, ...more] = (['move', 'delete', 'read', 'keep'] as const).filter((key) => wasGiven([...path, key]));
  for (const key of more) fault([...path, key], `is given, and ${first} too`, 'remove one of the two');
  for (const key of ['delete', 'read', 'keep'] as const)
    if (after?.[key] === false)
      fault([...path, key], 'is false, which is nothing to do', `remove it, or set one of move, delete, read, keep`);
}

/** Folders that mail is put into, each with its setting. */
function targetsOf({ after, refused, quarantine }: SoundPickup): readonly (readonly [Path, string])[] {
  const isMoved = after !== undefined && after.delete !== true && after.read !== true && after.keep !== true;
  const all = [
    [['after', 'move'], isMoved ? (after.move ?? PROCESSED) : undefined],
    [['refused'], refused],
    [['quarantine'], quarantine],
  ] as const;
  return all.flatMap(([path, folder]) => (folder === undefined ? [] : [[path, folder] as const]));
}

/** What is put into the folder that is picked up from would be picked up for ever. */
function checkFolders(one: SoundPickup, base: Path, { fault }: Context): void {
  for (const [key, target] of targetsOf(one)) {
    if (target.toLowerCase() !== one.folder?.toLowerCase()) continue;
    fault([...base, ...key], 'is the folder that mail is picked up from', 'name another one');
  }
}

function checkRoute(
  { route, transport }: SoundPickup,
  base: Path,
  settings: SoundSettings,
  { fault, wasGiven }: Context,
): void {
  const names = [DEFAULT_ROUTE, ...(settings.routes?.map((one) => one?.name) ?? [])];
  const isKnown = route === undefined || names.includes(route);
  if (!isKnown && !names.includes(undefined) && (settings.routes !== undefined || !wasGiven(['routes']))) {
    const near = suggest(
      route,
      names.flatMap((name) => name ?? []),
    );
    fault(
      [...base, 'route'],
      'is the name of none of routes',
      near === undefined ? undefined : `did you mean ${near}?`,
    );
  }
  const account = accountOf(route, settings);
  if (account?.cloud === 'onPremises' && (transport === 'graph' || transport === 'auto'))
    fault(
      [...base, 'transport'],
      `is ${transport}, but the account is on-premises`,
      'Microsoft Graph is in Exchange Online only; set ews',
    );
}

function accountOf(route: string | undefined, settings: SoundSettings): SoundAccount | undefined {
  const wanted = route ?? DEFAULT_ROUTE;
  return accountsIn(settings).find(({ account, path }) =>
    wanted === DEFAULT_ROUTE ? path[0] === 'exchange' : 'name' in account && account.name === wanted,
  )?.account;
}

/** Names are those of ways in the queue, too. */
function checkNames({ pickup = [], routes = [] }: SoundSettings, { fault }: Context): void {
  const taken = new Map<string, string>([[DEFAULT_ROUTE, 'the way out that the section exchange makes']]);
  routes.forEach((route, index) => {
    if (route?.name !== undefined) taken.set(route.name.toLowerCase(), `routes[${index}]`);
  });
  pickup.forEach((one, index) => {
    const name = (one?.name ?? (one === undefined ? undefined : pickupName(index)))?.toLowerCase();
    if (name === undefined) return;
    const before = taken.get(name);
    if (before === undefined) taken.set(name, `pickup[${index}]`);
    else if (one?.name === undefined)
      fault(['pickup', index], `needs a name: ${pickupName(index)} is that of ${before}`, 'add name');
    else
      fault(
        ['pickup', index, 'name'],
        `is the name of ${before} already`,
        'each needs its own; upper and lower case are the same',
      );
  });
}

/** Of an entry without one, by its place from 0. */
export function pickupName(index: number): string {
  return index === 0 ? 'pickup' : `pickup-${index + 1}`;
}

/** Two that empty one folder would take turns at random. */
function checkSources({ pickup = [] }: SoundSettings, { fault }: Context): void {
  const first = new Map<string, number>();
  pickup.forEach((one, index) => {
    if (one?.mailbox === undefined || one.folder === undefined) return;
    const key = placeOf(one.mailbox, one.folder);
    const before = first.get(key);
    if (before === undefined) first.set(key, index);
    else
      fault(
        ['pickup', index, 'folder'],
        `of this mailbox is that of pickup[${before}] already`,
        'one entry for each folder',
      );
  });
}

function placeOf(mailbox: string, folder: string): string {
  return `${mailbox}/${folder}`.toLowerCase();
}

/** One may take up what another has put down, but not when that comes back. */
function checkCircles({ pickup = [] }: SoundSettings, { fault }: Context): void {
  const places = pickup.map((one) =>
    one?.mailbox === undefined || one.folder === undefined ? undefined : placeOf(one.mailbox, one.folder),
  );
  const follower = (index: number, folder: string): number =>
    places.indexOf(placeOf(pickup[index]?.mailbox ?? '', folder));
  const reached = (from: number, seen = new Set<number>()): ReadonlySet<number> => {
    const one = pickup[from];
    if (one === undefined || seen.has(from)) return seen;
    seen.add(from);
    for (const [, folder] of targetsOf(one)) reached(follower(from, folder), seen);
    return seen;
  };
  pickup.forEach((one, index) => {
    if (one?.mailbox === undefined) return;
    for (const [key, folder] of targetsOf(one)) {
      const next = follower(index, folder);
      // Of each circle, the step that leads back in the file.
      if (next < 0 || next >= index || !reached(next).has(index)) continue;
      fault(
        ['pickup', index, ...key],
        `is the folder that pickup[${next}] takes from, and mail comes back from there: it would go round for ever`,
        'name another one',
      );
    }
  });
}

function checkDoor(settings: SoundSettings, { fault, wasGiven }: Context): void {
  const { pickup = [], pop3 } = settings;
  const first = new Map<string, number>();
  pickup.forEach((one, index) => {
    const path = ['pickup', index, 'deliver', 'pop3'];
    if (!wasGiven(path)) return;
    if (!wasGiven(['pop3']))
      fault(path, 'is given, but there is no section pop3', 'add pop3 with an address and a port');
    const user = one?.deliver?.pop3?.user;
    const before = user === undefined ? undefined : first.get(user);
    if (before !== undefined) fault([...path, 'user'], `is that of pickup[${before}] already`, 'each needs its own');
    else if (user !== undefined) first.set(user, index);
  });
  if (!wasGiven(['pop3'])) return;
  if (!pickup.some((_one, index) => wasGiven(['pickup', index, 'deliver', 'pop3'])))
    fault(['pop3'], 'is given, but no pickup has deliver.pop3', 'remove it, or add the mailbox that it is for');
  const { tls } = pop3 ?? {};
  const hasCertificate = wasGiven(['pop3', 'certificate']);
  if ((tls === 'required' || tls === 'implicit') && !hasCertificate)
    fault(
      ['pop3', 'tls'],
      `is ${tls}, which needs a certificate`,
      'add certificate, or set tls: optional, for which one is made',
    );
  if (tls === 'none' && hasCertificate)
    fault(['pop3', 'certificate'], 'is given, but tls is none', 'set tls, or remove the certificate');
  const plain = pop3?.plainFrom ?? [];
  if ((tls === 'required' || tls === 'implicit') && wasGiven(['pop3', 'plainFrom']) && plain.length > 0)
    fault(
      ['pop3', 'plainFrom'],
      `is given, but tls is ${tls}: nobody logs in without TLS`,
      'remove it, or set tls: optional',
    );
  if (tls === 'none' && plain.length === 0)
    fault(
      ['pop3', 'tls'],
      'is none, and plainFrom is empty: nobody could log in',
      'set tls, or name networks in plainFrom',
    );
}
