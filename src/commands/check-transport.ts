/** Which way out each route takes, and why. Reads what is remembered of it in the data folder; marks accounts that are spare. */
import { changeOf } from '../assembly/way-out.ts';
import type { ChangeOver } from '../exchange/auto.ts';
import type { RouteConfig } from '../config/config.ts';
import type { Account } from './check-account.ts';
import { readingWays } from './check-account.ts';
import type { Walk } from './check-walk.ts';
import type { Finding } from './finding.ts';

export async function* checkTransports({ config, accounts, isWithoutData = false }: Walk): AsyncGenerator<Finding> {
  for (const route of config.routes) {
    const { name, setting, exchange } = route;
    const about = { what: 'transport' as const, route: name };
    let change: ChangeOver | undefined;
    let trouble: string | undefined;
    try {
      change = await changeOf({ name, folder: config.spool.folder });
    } catch (error) {
      trouble = error instanceof Error ? error.message : String(error);
    }
    const inUse = change?.transport ?? 'ews';
    const pickups = config.pickups.filter((pickup) => pickup.route === name);
    for (const account of accounts.filter((one) => one.route === route)) {
      account.isSpare = !isUsed(account, inUse, pickups);
      account.isChosen = account.way === inUse;
    }
    const isAsked = exchange.transport === 'auto' || pickups.some((one) => one.transport === 'auto');
    if (trouble !== undefined && isAsked)
      yield {
        ...about,
        mark: isWithoutData ? 'skip' : 'fail',
        says: isWithoutData ? 'what is in use is not known: it is remembered in the data folder' : trouble,
      };
    else yield { ...about, ...chosen(route, change) };
    if (exchange.shadow !== undefined) {
      const { host, port } = exchange.shadow;
      yield {
        ...about,
        mark: 'warn',
        says: `shadow: ${host}:${port} delivers all mail, Exchange none, as long as ${setting}.shadow is set`,
      };
    }
  }
}

/** Sends, or reads, by the way that is in use. */
function isUsed(
  { route, way, sends }: Account,
  inUse: string,
  pickups: readonly { readonly transport: 'ews' | 'graph' | 'auto' }[],
): boolean {
  const isTaken = (transport: string): boolean => transport === way || (transport === 'auto' && way === inUse);
  const { transport } = route.exchange;
  return (
    (sends && isTaken(transport)) ||
    pickups.some((one) => readingWays(one.transport).some((each) => each === way) && isTaken(one.transport))
  );
}

function chosen(
  { name, setting, exchange }: RouteConfig,
  change: ChangeOver | undefined,
): Pick<Finding, 'mark' | 'says'> {
  if (exchange.transport !== 'auto') return { mark: 'ok', says: `${exchange.transport}, as ${setting}.transport says` };
  const since = change === undefined ? '' : ` since ${new Date(change.at).toISOString()} (${change.cause})`;
  if ((change?.transport ?? 'ews') === 'ews')
    return { mark: 'ok', says: `auto: ews${since}, and graph by itself once EWS is closed to this app` };
  return {
    mark: 'warn',
    says: `auto: changed over to graph${since}; to go back, set ${setting}.returnToEws or delete ${name}.transport.json in the data folder while the gateway is stopped`,
  };
}
