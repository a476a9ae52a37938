/** What the settings of the console demand of each other: no login in clear on a network. Never fails. */
import type { Path } from './fault.ts';
import { isLoopback } from './network.ts';
import type { Context, SoundSettings } from './sound.ts';

export function checkConsole({ console }: SoundSettings, { fault, wasGiven }: Context): void {
  if (console === undefined) return;
  const path: Path = ['console'];
  const given = (key: string): boolean => wasGiven([...path, key]);
  if (given('token') && given('tokenFile'))
    fault([...path, 'tokenFile'], 'is given, and token too', 'remove one of the two');
  const hasLogin = given('token') || given('tokenFile') || (console.users?.length ?? 0) > 0;
  const { address, idleTimeout, sessionTimeout } = console;
  if (hasLogin && address !== undefined && !isLoopback(address) && !given('certificate')) {
    fault(
      [...path, 'address'],
      `is ${address}, and the console has a login, but no certificate: passwords and mail would cross the network readable`,
      'add console.certificate, or set address: 127.0.0.1 and reach it through a tunnel (ssh -L 8025:127.0.0.1:8025) or a reverse proxy',
    );
  }
  const first = new Map<string, number>();
  console.users?.forEach((user, index) => {
    if (user?.name === undefined) return;
    const before = first.get(user.name);
    if (before === undefined) first.set(user.name, index);
    else fault([...path, 'users', index, 'name'], `is the name of users[${before}] already`, 'each needs its own');
  });
  if (
    idleTimeout !== undefined &&
    sessionTimeout !== undefined &&
    idleTimeout > sessionTimeout &&
    given('idleTimeout')
  ) {
    fault([...path, 'idleTimeout'], 'is longer than sessionTimeout', 'a login would have ended before');
  }
}
