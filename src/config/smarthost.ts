/**
 * What the settings of an SMTP server demand of each other, in use or not: a login that can be made, and not in clear; and
 * that it is not this gateway. Looks at what could be read; never fails.
 */
import { isAt } from './channels.ts';
import { isLoopback } from './network.ts';
import type { Path } from './fault.ts';
import type { Context, SoundAccount, SoundSettings } from './sound.ts';

export function checkSubmission(account: SoundAccount, base: Path, settings: SoundSettings, context: Context): void {
  const { smtp } = account;
  const path = [...base, 'smtp'];
  const { fault } = context;
  checkPassword(smtp?.login, path, context);
  const { host, port, tls, login } = smtp ?? {};
  if (tls === 'none' && login !== undefined && login !== 'none' && !isLoopback(host ?? '')) {
    fault([...path, 'tls'], 'is none: the login would cross the network readable', 'set it to required or implicit');
  }
  checkShadow(account, base, settings, context);
  const own = settings.listeners?.findIndex((listener) => listener !== undefined && isAt(listener, host, port)) ?? -1;
  if (own >= 0) {
    fault([...path, 'host'], `is this gateway: listeners[${own}] has that address and port`, 'name another server');
  }
}

function checkShadow({ shadow }: SoundAccount, base: Path, { listeners }: SoundSettings, { fault }: Context): void {
  const { host, port } = shadow ?? {};
  const own = listeners?.findIndex((listener) => listener !== undefined && isAt(listener, host, port)) ?? -1;
  if (own < 0) return;
  fault(
    [...base, 'shadow', 'host'],
    `is this gateway: listeners[${own}] has that address and port`,
    'name another server',
  );
}

function checkPassword(login: string | undefined, path: Path, { fault, wasGiven, isWhole }: Context): void {
  const given = (key: string): boolean => wasGiven([...path, key]);
  if (given('password') && given('passwordFile')) {
    fault([...path, 'passwordFile'], 'is given, and password too', 'remove one of the two');
  }
  if (login === 'password' && isWhole(path)) {
    if (!given('username')) fault([...path, 'login'], 'is password, but there is no username', 'add username');
    if (!given('password') && !given('passwordFile')) {
      fault([...path, 'login'], 'is password, but there is none', 'add password or passwordFile');
    }
  }
  for (const key of ['username', 'password', 'passwordFile']) {
    const isUsed = login === undefined || login === 'password' || (login === 'oauth' && key === 'username');
    if (!isUsed && given(key)) fault([...path, key], `is given, but login is ${login}`, 'remove it, or set login');
  }
}
