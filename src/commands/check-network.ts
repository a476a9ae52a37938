/**
 * The names of the servers that are needed, and the proxy that leads to them: each name resolves, or the proxy takes the
 * connection and opens the way (CONNECT). No request is sent. An account whose server or authority has no way is blocked.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { createSecureContext, getCACertificates } from 'node:tls';
import { httpOptions } from '../assembly/http-options.ts';
import type { ExchangeConfig } from '../config/config.ts';
import type { ConnectError } from '../exchange/failure.ts';
import { describe } from '../exchange/failure.ts';
import { chooseProxy, openTunnel } from '../exchange/proxy.ts';
import type { Account } from './check-account.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';

/** Milliseconds. */
const NAMES = 15_000;

interface Needed {
  readonly host: string;
  readonly port: string;
  readonly proxy?: URL;
}

export async function* checkNetwork({ config, accounts }: Walk): AsyncGenerator<Finding> {
  const known = new Map<string, Judged>();
  for (const account of accounts) {
    const { exchange, name } = account.route;
    for (const needed of neededBy(account)) {
      const at = needed.proxy === undefined ? needed.host : `${needed.proxy.host} to ${needed.host}:${needed.port}`;
      const before = known.get(at);
      const judged = before ?? (await judge(needed, exchange));
      if (judged.mark === 'fail') account.blocked ??= `there is no way to ${needed.host}`;
      if (before !== undefined) continue;
      known.set(at, judged);
      yield { what: needed.proxy === undefined ? 'dns' : 'proxy', route: name, at, ...judged };
    }
  }
  for (const host of otherHosts(config.routes.map(({ exchange }) => exchange))) {
    if (known.has(host)) continue;
    known.set(host, await resolved(host));
    yield { what: 'dns', at: host, ...(known.get(host) ?? SPELT) };
  }
}

/** An IP address is no name. */
const SPELT: Judged = { mark: 'ok', says: 'an address, no name' };

function otherHosts(all: readonly ExchangeConfig[]): readonly string[] {
  return all.flatMap(({ shadow }) => (shadow === undefined ? [] : [shadow.host]));
}

/** The authority first: without a token the rest cannot be tried. */
function neededBy(account: Account): readonly Needed[] {
  const { exchange } = account.route;
  const choose = chooseProxy(httpOptions(exchange));
  const { authority } = exchange;
  const urls = [...(account.needsToken && authority !== '' ? [new URL(authority)] : []), account.server];
  return urls.map((url) => {
    const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
    // SMTP goes by no proxy.
    const proxy = url.protocol === 'smtp:' ? undefined : choose(url.protocol, url.hostname, port);
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    return { host, port, ...(proxy === undefined ? {} : { proxy }) };
  });
}

async function judge({ host, port, proxy }: Needed, exchange: ExchangeConfig): Promise<Judged> {
  if (proxy === undefined) return await resolved(host);
  const name = proxy.hostname.replace(/^\[(.*)\]$/, '$1');
  const found = await resolved(name);
  if (found.mark === 'fail') return { mark: 'fail', says: `the proxy: ${found.says}` };
  const error = await tunnelled(proxy, host, port, exchange);
  if (error === null) return { mark: 'ok', says: `the proxy opens the way` };
  return { mark: 'fail', says: describe(error, 'connect', `${host}:${port}`).message };
}

async function resolved(host: string): Promise<Judged> {
  if (isIP(host) !== 0) return SPELT;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(Object.assign(new Error('late'), { code: 'EAI_AGAIN' })), NAMES);
  try {
    const all = await Promise.race([lookup(host, { all: true }), late.promise]);
    return { mark: 'ok', says: `resolves to ${all.map(({ address }) => address).join(', ')}` };
  } catch (error) {
    return { mark: 'fail', says: describe(error, 'connect', host).message };
  } finally {
    clearTimeout(timer);
  }
}

function tunnelled(
  proxy: URL,
  hostname: string,
  port: string,
  { connectTimeout: timeout, ca }: ExchangeConfig,
): Promise<ConnectError | null> {
  const secureContext =
    ca === undefined ? undefined : createSecureContext({ ca: [...getCACertificates('default'), ca] });
  return new Promise((resolve) => {
    openTunnel({ proxy, hostname, port, secureContext, timeout }, (error, socket) => {
      socket?.destroy();
      resolve(error);
    });
  });
}
