/**
 * What alarms demand: each has one way to whom it tells, which does not lead back to this gateway. Looks at what could be
 * read; never fails.
 */
import type { Path } from './fault.ts';
import { isLoopback } from './network.ts';
import type { Context, SoundListener, SoundSettings } from './sound.ts';

type Channel = NonNullable<NonNullable<NonNullable<SoundSettings['alarms']>['to']>[number]>;

export function checkAlarms(settings: SoundSettings, context: Context): void {
  const first = new Map<string, number>();
  settings.alarms?.to?.forEach((channel, index) => {
    if (channel === undefined) return;
    const path = ['alarms', 'to', index];
    checkWay(path, context);
    checkServer(channel, path, settings, context);
    const before = channel.name === undefined ? undefined : first.get(channel.name);
    if (before !== undefined) {
      context.fault([...path, 'name'], `is the name of to[${before}] already`, 'each needs its own');
    } else if (channel.name !== undefined) first.set(channel.name, index);
  });
}

const WAYS = ['webhook', 'command', 'mail'] as const;

function checkWay(path: Path, { fault, wasGiven, isWhole }: Context): void {
  const [first, ...more] = WAYS.filter((way) => wasGiven([...path, way]));
  // A misspelt one is at fault already.
  if (first === undefined && isWhole(path)) {
    fault(path, 'tells nobody', 'add webhook, command or mail');
  }
  for (const way of more) {
    fault([...path, way], `is given, and ${first} too`, 'make an entry of its own for each');
  }
  if (first !== undefined && !wasGiven([...path, 'webhook']) && wasGiven([...path, 'form'])) {
    fault([...path, 'form'], 'is given, but no webhook', 'remove it, or add the webhook that it is for');
  }
}

/** An alarm about this gateway must not wait in it. */
function checkServer({ mail }: Channel, path: Path, { listeners = [] }: SoundSettings, { fault }: Context): void {
  const own = listeners.findIndex((listener) => listener !== undefined && isAt(listener, mail?.host, mail?.port));
  if (own < 0) return;
  fault(
    [...path, 'mail', 'host'],
    `is this gateway: listeners[${own}] has that address and port`,
    'name another server; what keeps mail here from going out keeps its alarms too',
  );
}

/** Whether a listener of ours is at that address and port. */
export function isAt({ address, port }: SoundListener, host: string | undefined, wanted: number | undefined): boolean {
  if (address === undefined || host === undefined || port === undefined || port === 0 || port !== wanted) return false;
  if (host === address) return true;
  const everywhere = address === '0.0.0.0' || address === '::';
  return isLoopback(host) && (everywhere || isLoopback(address));
}
