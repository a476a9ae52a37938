/**
 * The ways to read the mailboxes of one account: connections and logins of their own, so that what reads never waits for
 * what sends. Shared by all pickups of the account. Fails to open only for an address that cannot be used.
 */
import type { PickupConfig, RouteConfig } from '../config/config.ts';
import type { EwsClient } from '../exchange/ews.ts';
import { createEws } from '../exchange/ews.ts';
import type { GraphOptions } from '../exchange/graph-call.ts';
import { createHttp } from '../exchange/http.ts';
import type { PickupMailbox } from '../exchange/mailbox.ts';
import type { Report } from '../mail/event.ts';
import { renewCredential } from './credential.ts';
import { httpOptions } from './http-options.ts';
import type { Login } from './login.ts';
import { loginAt } from './login.ts';
import type { WayOutParts } from './way-out.ts';
import { changeOf } from './way-out.ts';

type Way = 'ews' | 'graph';

export interface Mailboxes {
  /** At least one: the next is for when EWS is closed to this application. */
  boxesOf(pickup: Pick<PickupConfig, 'mailbox' | 'transport'>): Promise<readonly PickupMailbox[]>;
  /** Reads the files of the credential anew. */
  renew(): Promise<void>;
  close(): Promise<void>;
}

/** What asks for tokens on its own, by the name its events and metrics have. */
export function readingAccountsOf(
  { name, exchange }: RouteConfig,
  pickups: readonly Pick<PickupConfig, 'route' | 'transport'>[],
): readonly string[] {
  if (exchange.credential.kind === 'account') return [];
  const ways = new Set(pickups.filter(({ route }) => route === name).flatMap(({ transport }) => waysOf(transport)));
  return [...ways].map((way) => accountOf(name, way));
}

function waysOf(transport: PickupConfig['transport']): readonly Way[] {
  return transport === 'auto' ? ['ews', 'graph'] : [transport];
}

function accountOf(route: string, way: Way): string {
  return way === 'ews' ? `${route}.pickup` : `${route}.pickup.graph`;
}

export type MailboxesParts = Pick<WayOutParts, 'name' | 'setting' | 'exchange' | 'folder' | 'version'> & {
  readonly report: Report;
};

export function openMailboxes(parts: MailboxesParts): Mailboxes {
  const { name, exchange, version, report } = parts;
  const undo: (() => Promise<void>)[] = [];
  const http = createHttp(httpOptions(exchange));
  undo.push(() => http.close());
  const logins = new Map<Way, Login>();
  let ews: Promise<EwsClient> | undefined;
  let graph: GraphOptions | undefined;

  const loginFor = (way: Way): Login => {
    const known = logins.get(way);
    if (known !== undefined) return known;
    const scope = way === 'ews' ? exchange.scope : exchange.graphScope;
    const login = loginAt({ account: accountOf(name, way), exchange, scope, http, version, report, undo });
    logins.set(way, login);
    return login;
  };

  const boxOf = async (way: Way, mailbox: string): Promise<PickupMailbox> => {
    const { clientId, ewsUrl, graphUrl } = exchange;
    const { authorizer } = loginFor(way);
    if (way === 'ews') {
      const { ewsMailbox } = await import('../exchange/mailbox-ews.ts');
      ews ??= createEws({ url: ewsUrl, authorizer, version, clientId });
      return ewsMailbox({ ews: await ews, mailbox });
    }
    const { graphMailbox } = await import('../exchange/mailbox-graph.ts');
    graph ??= { http, authorizer, url: graphUrl, version, clientId };
    return graphMailbox({ graph, mailbox });
  };

  return {
    async boxesOf({ mailbox, transport }) {
      const ways = waysOf(transport);
      // What has changed over to Graph for sending finds EWS closed for reading too.
      const isOver = transport === 'auto' && (await changeOf(parts).catch(() => undefined))?.transport === 'graph';
      return await Promise.all((isOver ? (['graph'] as const) : ways).map((way) => boxOf(way, mailbox)));
    },
    renew: () =>
      renewCredential(
        { ...parts, name: `${name}.pickup` },
        (credential) => [...logins.values()].map((one) => one.replace(credential)).find(Boolean),
        report,
      ),
    async close() {
      for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
    },
  };
}
