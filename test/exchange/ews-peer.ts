/** A scripted peer that speaks just enough HTTP to be an Exchange, and keeps what reached it. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { EwsClient } from '../../src/exchange/ews.ts';
import { bearer } from '../../src/exchange/authorizer.ts';
import { createEws } from '../../src/exchange/ews.ts';
import { createHttp, type HttpOptions } from '../../src/exchange/http.ts';
import type { TokenFailure, TokenProvider } from '../../src/exchange/token.ts';
import { parseXml, type XmlElement } from '../../src/exchange/soap.ts';
import { recordSoap } from '../soap-record.ts';

export interface Seen {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export type Answer = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void;

export interface Peer {
  readonly url: string;
  readonly seen: readonly Seen[];
  /** Connections that are open now. */
  readonly sockets: ReadonlySet<Socket>;
  /** Called with each request that arrived whole. */
  answer: Answer;
  /** Called at a request's header instead of waiting for the whole; returns true if it took the request over. */
  early: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  close(): Promise<void>;
}

export async function startPeer(): Promise<Peer> {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    request.on('error', () => {});
    if (peer.early?.(request, response) === true) return;
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const one = { headers: request.headers, body: Buffer.concat(chunks) };
      seen.push(one);
      recordSoap('ews', one.body);
      peer.answer(one, response, request);
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const peer: Peer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/EWS/Exchange.asmx`,
    seen,
    sockets,
    answer: (_seen, response) => response.writeHead(200, { 'content-type': 'text/xml' }).end(created()),
    early: undefined,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return peer;
}

export interface FakeToken extends TokenProvider {
  readonly refused: string[];
  /** What get() gives, in order; the last one stays. */
  script: (string | TokenFailure)[];
}

export function fakeToken(...script: (string | TokenFailure)[]): FakeToken {
  const token: FakeToken = {
    refused: [],
    script: script.length > 0 ? script : ['token-1'],
    get: async () => {
      const next = (token.script.length > 1 ? token.script.shift() : token.script[0]) ?? '';
      return typeof next === 'string' ? { ok: true, token: next, expiresAt: Infinity } : next;
    },
    refuse: (given) => void token.refused.push(given),
    state: () => ({}),
    close: async () => {},
  };
  return token;
}

export interface Client {
  readonly ews: EwsClient;
  close(): Promise<void>;
}

export async function clientOf(
  url: string,
  options: { readonly token?: TokenProvider; readonly http?: HttpOptions; readonly now?: () => number } = {},
): Promise<Client> {
  const http = createHttp(options.http ?? {});
  const ews = await createEws({
    url,
    authorizer: bearer({ http, token: options.token ?? fakeToken() }),
    version: '1.2.3',
    ...(options.now === undefined ? {} : { now: options.now }),
  });
  return { ews, close: () => http.close() };
}

// --- answers ------------------------------------------------------------------------------------------------------

const NAMESPACES =
  'xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"';

export function envelope(body: string): string {
  return (
    '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>' +
    '<h:ServerVersionInfo MajorVersion="15" MinorVersion="20" MajorBuildNumber="1" MinorBuildNumber="2" Version="V2018_01_08" ' +
    'xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header>' +
    `<s:Body ${NAMESPACES}>${body}</s:Body></s:Envelope>`
  );
}

export function created(): string {
  return envelope(
    '<m:CreateItemResponse><m:ResponseMessages><m:CreateItemResponseMessage ResponseClass="Success">' +
      '<m:ResponseCode>NoError</m:ResponseCode><m:Items/></m:CreateItemResponseMessage></m:ResponseMessages></m:CreateItemResponse>',
  );
}

export function messageError(
  code: string,
  options: { text?: string; values?: Record<string, string>; operation?: string; responseClass?: string } = {},
): string {
  const operation = options.operation ?? 'CreateItem';
  return envelope(
    `<m:${operation}Response><m:ResponseMessages><m:${operation}ResponseMessage ResponseClass="${options.responseClass ?? 'Error'}">` +
      `<m:MessageText>${options.text ?? 'It did not work.'}</m:MessageText><m:ResponseCode>${code}</m:ResponseCode>` +
      `<m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>${messageXml('m', options.values)}` +
      `</m:${operation}ResponseMessage></m:ResponseMessages></m:${operation}Response>`,
  );
}

export function fault(code: string, options: { text?: string; values?: Record<string, string> } = {}): string {
  return envelope(
    `<s:Fault><faultcode xmlns:a="http://schemas.microsoft.com/exchange/services/2006/types">a:${code}</faultcode>` +
      `<faultstring xml:lang="en-US">${options.text ?? 'It did not work.'}</faultstring><detail>` +
      `<e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">${code}</e:ResponseCode>` +
      `<e:Message xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">${options.text ?? 'It did not work.'}</e:Message>` +
      `${messageXml('t', options.values)}</detail></s:Fault>`,
  );
}

function messageXml(prefix: string, values: Record<string, string> = {}): string {
  const inner = Object.entries(values).map(([name, value]) => `<t:Value Name="${name}">${value}</t:Value>`);
  return inner.length === 0 ? '' : `<${prefix}:MessageXml>${inner.join('')}</${prefix}:MessageXml>`;
}

/** An answer to FindItem with one item per mark; undefined: an item without. */
export function foundItems(marks: readonly (string | undefined)[], options: { more?: boolean } = {}): string {
  const items = marks.map(
    (mark, index) =>
      `<t:Message><t:ItemId Id="id${index}" ChangeKey="ck"/>${
        mark === undefined
          ? ''
          : '<t:ExtendedProperty><t:ExtendedFieldURI DistinguishedPropertySetId="PublicStrings" PropertyName="smtp2exchange-id" PropertyType="String"/>' +
            `<t:Value>${mark}</t:Value></t:ExtendedProperty>`
      }</t:Message>`,
  );
  return envelope(
    '<m:FindItemResponse><m:ResponseMessages><m:FindItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>' +
      `<m:RootFolder IndexedPagingOffset="${marks.length}" TotalItemsInView="${marks.length}" IncludesLastItemInRange="${options.more !== true}">` +
      `<t:Items>${items.join('')}</t:Items></m:RootFolder></m:FindItemResponseMessage></m:ResponseMessages></m:FindItemResponse>`,
  );
}

// --- what a request says ------------------------------------------------------------------------------------------

export function all(element: XmlElement, name: string): XmlElement[] {
  return [...(element.name === name ? [element] : []), ...element.children.flatMap((child) => all(child, name))];
}

/** A request as a real parser reads it. */
export function requestOf({ body }: Seen): {
  readonly root: XmlElement;
  readonly mime: Buffer;
  readonly blind: readonly string[];
  readonly impersonated: readonly string[];
} {
  const root = parseXml(body.toString('utf8'));
  if (!root) throw new Error('the request is not well-formed');
  const texts = (within: readonly XmlElement[], name: string): string[] =>
    within.flatMap((element) => all(element, name).map(({ text }) => text));
  return {
    root,
    mime: Buffer.from(texts([root], 'MimeContent')[0] ?? '', 'base64'),
    blind: texts(all(root, 'BccRecipients'), 'EmailAddress'),
    impersonated: texts(all(root, 'ConnectingSID'), 'SmtpAddress'),
  };
}
