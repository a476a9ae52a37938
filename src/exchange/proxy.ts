/**
 * The way through an HTTP proxy: which one a server needs (NO_PROXY's rules), and the tunnel a CONNECT opens
 * (RFC 9110 section 9.3.6). Fails with ConnectError, which names the proxy's host and never its login.
 */
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import { isIP, type Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { watchOffered, type OfferedCertificate } from '../tls/offered.ts';
import { codeOf, ConnectError } from './failure.ts';

/**
 * Milliseconds without a word after which TCP asks whether the peer is there, then once a second: one that has gone
 * without a word is found out some ten seconds later, not when the answer is overdue or the next request is lost on it.
 */
export const ARE_YOU_THERE = 5_000;

export interface ProxyOptions {
  /** URL (http or https) of a proxy for everything, with an optional login. Wins over the next two. */
  readonly proxy?: string;
  /** Proxy for http:// addresses. */
  readonly httpProxy?: string;
  /** Proxy for https:// addresses. */
  readonly httpsProxy?: string;
  /** Hosts reached without proxy, as in NO_PROXY: `host`, `host:port`, `.domain`, `*.domain`, `*`, separated by commas or spaces. */
  readonly noProxy?: string;
}

/** Which proxy leads to a server; undefined: none is needed. */
export type ChooseProxy = (protocol: string, hostname: string, port: string) => URL | undefined;

/** Throws an Error with a plain sentence if a proxy's URL cannot be used. */
export function chooseProxy(options: ProxyOptions): ChooseProxy {
  const forHttp = proxyAt(options.proxy ?? options.httpProxy);
  const forHttps = proxyAt(options.proxy ?? options.httpsProxy);
  return (protocol, hostname, port) => {
    const proxy = protocol === 'https:' ? forHttps : forHttp;
    return proxy && bypasses(options.noProxy ?? '', hostname, port) ? undefined : proxy;
  };
}

function proxyAt(text: string | undefined): URL | undefined {
  if (text === undefined || text === '') return undefined;
  const url = URL.parse(text);
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new Error('the proxy must be given as a URL that begins with http:// or https://');
}

export interface Tunnel {
  readonly proxy: URL;
  readonly hostname: string;
  readonly port: string;
  /** For a proxy that is itself reached over TLS. */
  readonly secureContext: SecureContext | undefined;
  /** Milliseconds for the connection and the proxy's answer together. */
  readonly timeout: number;
}

/** Calls `done` once: with a socket that leads to the server, or with why there is none. */
export function openTunnel(wanted: Tunnel, done: (error: ConnectError | null, socket: Socket | null) => void): void {
  const { proxy, hostname } = wanted;
  const path = `${hostname.includes(':') ? `[${hostname}]` : hostname}:${wanted.port}`;
  const secure = proxy.protocol === 'https:';
  const host = proxy.hostname.replace(/^\[|\]$/g, '');
  const request = (secure ? overHttps : overHttp)({
    host,
    // Node would take the name in the Host field, which is that of the server behind it.
    ...(secure ? { servername: isIP(host) === 0 ? host : '' } : {}),
    port: proxy.port || (secure ? 443 : 80),
    method: 'CONNECT',
    path,
    headers: { host: path, ...loginOf(proxy) },
    agent: false,
    ...(secure && wanted.secureContext ? { secureContext: wanted.secureContext } : {}),
  });
  let certificate = (): OfferedCertificate | undefined => undefined;
  request.once('socket', (socket) => {
    if (socket instanceof TLSSocket) certificate = watchOffered(socket);
  });
  let told = false;
  const tell = (error: ConnectError | null, socket: Socket | null): void => {
    if (told) return void socket?.destroy();
    told = true;
    clearTimeout(timer);
    if (error) request.destroy();
    done(error, socket);
  };
  const fail = (code: string, cause?: unknown): void => {
    const detail = { proxy: proxy.host, certificate: certificate(), cause };
    tell(new ConnectError(code, 'there is no tunnel through the proxy', detail), null);
  };
  const timer = setTimeout(() => fail('PROXY_TIMEOUT'), wanted.timeout);

  request.on('error', (error) => {
    const code = codeOf(error);
    fail(code === 'ECONNRESET' || code === 'EPIPE' || code.startsWith('HPE_') ? 'PROXY_CLOSED' : code, error);
  });
  // Node brings every answer to a CONNECT here, whatever its status.
  request.on('connect', (answer, socket, head) => {
    if (answer.statusCode !== 200) {
      socket.destroy();
      return fail(`PROXY_${answer.statusCode}`);
    }
    if (head.length > 0) socket.unshift(head);
    (socket as Socket).setKeepAlive(true, ARE_YOU_THERE);
    tell(null, socket as Socket);
  });
  request.end();
}

function loginOf(proxy: URL): Record<string, string> {
  if (proxy.username === '') return {};
  const login = `${decoded(proxy.username)}:${decoded(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` };
}

/** A per cent sign that begins no octet stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text.replace(/(?:%[0-9a-f]{2})+/gi, (octets) => Buffer.from(octets.replaceAll('%', ''), 'hex').toString());
  }
}

/** NO_PROXY as curl and most programs read it. */
function bypasses(list: string, hostname: string, port: string): boolean {
  const host = hostname.toLowerCase();
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      if (entry === '') return false;
      const bare = entry.split(':').length > 2 && !entry.startsWith('[') ? `[${entry}]` : entry;
      const [, name = '', onPort] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(bare) ?? [];
      if (onPort !== undefined && onPort !== port) return false;
      if (name === '*') return true;
      const domain = name.replace(/^\*?\./, '');
      return host === domain || host.endsWith(`.${domain}`);
    });
}
