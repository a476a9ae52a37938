/** By which listener of a gateway a mail gets in from this machine. Pure; throws CommandFault if there is none. */
import { isIPv6 } from 'node:net';
import { covers, network } from '../config/network.ts';
import type { SoundListener } from '../config/sound.ts';
import type { SmtpServer } from '../smtp/client.ts';
import { CommandFault, EXIT } from './outcome.ts';

export type Door = Pick<SmtpServer, 'host' | 'port'> & { readonly tls: NonNullable<SmtpServer['tls']> };

/** @param hasLogin a user is named: then a listener that takes logins is needed */
export function doorOf(listeners: readonly (SoundListener | undefined)[], hasLogin: boolean): Door {
  const reasons: string[] = [];
  for (const listener of listeners) {
    if (listener === undefined) continue;
    const found = judged(listener, hasLogin);
    if (typeof found !== 'string') return found;
    reasons.push(`${listener.name ?? 'a listener'} ${found}`);
  }
  const why = reasons.length === 0 ? 'the configuration has none that can be read' : reasons.join('; ');
  throw new CommandFault(
    EXIT.usage,
    `No listener takes a mail from this machine: ${why}. Name one with --server HOST:PORT`,
  );
}

function judged(listener: SoundListener, hasLogin: boolean): Door | string {
  const { address, port, tls, auth, allow = [], loginFrom = [], proxyProtocol = [] } = listener;
  if (address === undefined || port === undefined || tls === undefined) return 'cannot be read';
  if (port === 0) return 'takes any free port (port: 0)';
  // To an address of this machine the system takes the same one to come from.
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[address] ?? address;
  const from = network(host);
  const isIn = (networks: readonly (string | undefined)[]): boolean =>
    from.ok && networks.some((one) => one !== undefined && covers(one, from.value));
  if (isIn(proxyProtocol)) return `expects a PROXY header from ${host}`;
  const takesLogin = auth !== 'none' && (isIn(allow) || isIn(loginFrom));
  if (hasLogin && !takesLogin) return `takes no login from ${host}`;
  if (!hasLogin && (auth === 'required' || !isIn(allow)))
    return takesLogin ? 'wants a login (--user)' : `does not allow ${host}`;
  return {
    host,
    port,
    tls: ({ none: 'never', optional: 'offered', required: 'required', implicit: 'implicit' } as const)[tls],
  };
}

/** As people write it. */
export function doorText({ host, port }: Door): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
