/**
 * One way out, built from the configuration of its account: connections, logins, transport. Only what is configured is
 * loaded. It never fails to open because Exchange or the identity server does; what it throws is a StartError, or the
 * message of an address that cannot be used.
 */
import { join } from 'node:path';
import type { RouteConfig, SmtpConfig } from '../config/config.ts';
import type { ChangeOver } from '../exchange/auto.ts';
import { changeOverFile } from '../exchange/change-over.ts';
import type { Ews } from '../exchange/ews.ts';
import { createEws } from '../exchange/ews.ts';
import type { HttpWithLanes } from '../exchange/http.ts';
import { createHttp } from '../exchange/http.ts';
import { exchangeTransport } from '../exchange/send.ts';
import type { Report } from '../mail/event.ts';
import { unreachable } from '../mail/status.ts';
import type { Transport } from '../mail/transport.ts';
import { renewCredential } from './credential.ts';
import { smtpOf } from './hand-over.ts';
import { httpOptions } from './http-options.ts';
import type { Login } from './login.ts';
import { loginAt } from './login.ts';
import { StartError } from './start-error.ts';

/** Microsoft's announcement: EWS in Exchange Online ends for good, without exception. */
const EWS_ENDS = Date.UTC(2027, 3, 1);
/** Of no message: looked for to see whether the mailbox can be looked into. */
export const PROBE_ID = '<probe@smtp2exchange.invalid>';

export interface WayOut {
  readonly transport: Transport;
  /** Asks for the tokens beforehand, so that a wrong secret shows now and not at the first mail. Resolves with the answers; never rejects. */
  prime(): Promise<void>;
  /** Reads the files of the credential anew, and tells what came of it. */
  renew(): Promise<void>;
  close(): Promise<void>;
}

export interface WayOutParts extends RouteConfig {
  readonly hostname: string;
  /** Where what is remembered stands. */
  readonly folder: string;
  readonly version: string;
  readonly report: Report;
}

/** What asks for tokens on its own, by the name its events and metrics have. */
export function accountsOf({ name, exchange: { transport } }: RouteConfig): readonly string[] {
  return transport === 'auto' ? [name, graphAccount(name)] : [name];
}

/** A token for EWS is worth nothing at Graph, so that there are two. */
function graphAccount(name: string): string {
  return `${name}.graph`;
}

export async function openWayOut(parts: WayOutParts): Promise<WayOut> {
  const { exchange, report } = parts;
  const undo: (() => Promise<void>)[] = [];
  const http = createHttp(httpOptions(exchange));
  undo.push(() => http.close());
  const logins: Login[] = [];
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  const login = (account: string, scope: string): Login => {
    const made = loginAt({ ...parts, account, scope, http, undo });
    logins.push(made);
    return made;
  };
  try {
    const transport =
      exchange.shadow === undefined
        ? await transportOf(parts, http, login)
        : await shadowOf(parts, exchange.shadow, http, login);
    undo.push(() => transport.close());
    // The one that changes over tells by itself.
    if (exchange.transport !== 'auto' || exchange.shadow !== undefined)
      report({ event: 'transport.chosen', route: parts.name, transport: transport.name, auto: false });
    return {
      transport,
      prime: async () => {
        // Its event says all.
        if (exchange.smtp === undefined || exchange.smtp.login.kind === 'oauth')
          await Promise.all(logins.map(({ token }) => token?.get()));
      },
      renew: () =>
        renewCredential(parts, (credential) => logins.map((one) => one.replace(credential)).find(Boolean), report),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function transportOf(
  parts: WayOutParts,
  http: HttpWithLanes,
  login: (account: string, scope: string) => Login,
): Promise<Transport> {
  const { name, exchange, hostname } = parts;
  const { transport, scope, graphScope, smtp } = exchange;
  switch (transport) {
    case 'ews':
      return ewsTransport(parts, await ewsOf(parts, login(name, scope)));
    case 'graph':
      return await graphOf(parts, http, login(name, graphScope));
    case 'auto': {
      const ours = login(name, scope);
      const graph = await graphOf(parts, http, login(graphAccount(name), graphScope));
      return await autoOf(parts, ours, await ewsOf(parts, ours), graph);
    }
    case 'smtp':
      if (smtp === undefined)
        throw new Error('a configuration with transport smtp and without a server passed its checks');
      return await smtpOf(smtp, exchange, hostname, login(name, scope).token);
    default:
      return unreachable(transport);
  }
}

/** Each transport that a route can take, as a route of its own that looks for copies, whether one would be kept or not. */
export function waysOf({ name, setting, exchange }: RouteConfig): readonly RouteConfig[] {
  const { shadow: _shadow, ...own } = exchange;
  const { transport } = own;
  const one = (way: 'ews' | 'graph' | 'smtp', account: string): RouteConfig => ({
    name: account,
    setting,
    exchange: { ...own, transport: way, saveToSentItems: true },
  });
  return transport === 'auto' ? [one('ews', name), one('graph', graphAccount(name))] : [one(transport, name)];
}

/** Whether a route that changes over by itself has, as far as is written down. Rejects with why that cannot be read. */
export async function changeOf({
  name,
  folder,
}: Pick<WayOutParts, 'name' | 'folder'>): Promise<ChangeOver | undefined> {
  return await changeOverFile(changeFile(name, folder)).load();
}

function changeFile(name: string, folder: string): string {
  return join(folder, `${name}.transport.json`);
}

/** What is rehearsed is done as far as it changes nothing. */
async function shadowOf(
  parts: WayOutParts,
  server: SmtpConfig,
  http: HttpWithLanes,
  login: (account: string, scope: string) => Login,
): Promise<Transport> {
  const { exchange, report, hostname } = parts;
  const { shadowTransport } = await import('../exchange/shadow.ts');
  const rehearsed: Transport[] = [];
  for (const one of waysOf(parts)) rehearsed.push(await transportOf({ ...parts, ...one }, http, login));
  report({ event: 'transport.warning', transport: 'shadow', warning: shadowed(server, parts.setting) });
  return shadowTransport({ delivers: await smtpOf(server, exchange, hostname, undefined), rehearsed, report });
}

function shadowed({ host, port }: SmtpConfig, setting: string): string {
  return `${host}:${port} delivers all mail; nothing is sent through Exchange as long as ${setting}.shadow is set`;
}

async function ewsOf({ exchange, version }: WayOutParts, { authorizer }: Login): Promise<Ews> {
  const { ewsUrl: url, clientId } = exchange;
  return await createEws({ url, authorizer, version, clientId });
}

function ewsTransport({ exchange }: WayOutParts, ews: Ews): Transport {
  const { saveToSentItems, carryHeaders, twoStep } = exchange;
  return exchangeTransport({ ews, saveToSentItems, carryHeaders, twoStepAbove: twoStep.above });
}

async function graphOf(
  { exchange, version, report }: WayOutParts,
  http: HttpWithLanes,
  { authorizer }: Login,
): Promise<Transport> {
  const { COPIES_ARE_KEPT, graphTransport } = await import('../exchange/graph.ts');
  const { graphUrl: url, clientId, saveToSentItems, carryHeaders } = exchange;
  if (!saveToSentItems) report({ event: 'transport.warning', transport: 'graph', warning: COPIES_ARE_KEPT });
  return graphTransport({ graph: { http, authorizer, url, version, clientId }, saveToSentItems, carryHeaders });
}

async function autoOf(parts: WayOutParts, { token }: Login, ews: Ews, graph: Transport): Promise<Transport> {
  const { name: route, exchange, folder, report } = parts;
  const { autoTransport } = await import('../exchange/auto.ts');
  try {
    return await autoTransport({
      ews: ewsTransport(parts, ews),
      graph,
      route,
      store: changeOverFile(changeFile(route, folder)),
      report,
      renewToken: async () => {
        const held = await token?.get();
        if (held?.ok === true) token?.refuse(held.token);
      },
      probe: async (mailbox, signal) =>
        (await ews.find({ mailbox, folder: 'sentitems', messageId: PROBE_ID, offset: 0 }, signal)).ok,
      returnToEws: exchange.returnToEws,
      // Of the other clouds no date is known; there the refusals tell.
      ...(exchange.cloud === 'worldwide' ? { ewsEnds: EWS_ENDS } : {}),
    });
  } catch (error) {
    throw new StartError('configuration', error instanceof Error ? error.message : String(error), { cause: error });
  }
}
