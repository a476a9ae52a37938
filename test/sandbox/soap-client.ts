/**
 * A bare client for the sandbox's tests: SOAP written by hand, sent over real HTTPS. It shares nothing with the gateway's
 * own requests, so that the sandbox is not tested against its only user.
 */
import type { ClientRequest, IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { vi } from 'vitest';
import type { Sandbox, SandboxOptions } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { XmlElement } from '../../src/sandbox/xml.ts';
import { child, readXml, textAt } from '../../src/sandbox/xml.ts';
import { recordSoap } from '../soap-record.ts';

export const SENDER = 'notifications@contoso.com';
export const ALICE = 'alice@contoso.com';
export const BOB = 'bob@contoso.com';
export const CAROL = 'carol@contoso.com';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

/** What a cut connection leaves behind. */
export interface Cut {
  readonly cut: string;
  /** What had come of the answer. */
  readonly text: string;
  readonly status: number;
}

export interface CallOptions {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** undefined: a good token; '': none. */
  readonly token?: string;
}

export async function startTestSandbox(options: Partial<SandboxOptions> = {}): Promise<Client> {
  const sandbox = await startSandbox({
    mailboxes: [SENDER, ALICE, BOB, CAROL].map((address) => ({ address })),
    record: (document) => recordSoap('sandbox', document),
    ...options,
  });
  return new Client(sandbox);
}

export class Client {
  readonly sandbox: Sandbox;
  #token: string | undefined;

  constructor(sandbox: Sandbox) {
    this.sandbox = sandbox;
  }

  async tokenOf(form: Readonly<Record<string, string>> = {}): Promise<string> {
    const body = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: this.sandbox.clientId,
      client_secret: this.sandbox.clientSecret,
      scope: 'https://outlook.office365.com/.default',
      ...form,
    });
    const answer = await whole(
      this.#open(new URL(`${this.sandbox.authority}/oauth2/v2.0/token`), 'POST', {
        'content-type': 'application/x-www-form-urlencoded',
      }).end(body.toString()),
    );
    const { access_token } = JSON.parse(answer.text) as { access_token?: string };
    if (access_token === undefined) throw new Error(`no token: ${answer.text}`);
    return access_token;
  }

  /** A token taken once and used until forgotten. */
  async token(): Promise<string> {
    return (this.#token ??= await this.tokenOf());
  }

  forgetToken(): void {
    this.#token = undefined;
  }

  /** An open request to Exchange; the caller writes the body. */
  async open({ method = 'POST', path, headers = {}, token }: CallOptions = {}): Promise<ClientRequest> {
    const bearer = token ?? (await this.token());
    const url = path === undefined ? new URL(this.sandbox.ewsUrl) : new URL(path, this.sandbox.origin);
    return this.#open(url, method, {
      'content-type': 'text/xml; charset=utf-8',
      ...(bearer === '' ? {} : { authorization: `Bearer ${bearer}` }),
      ...headers,
    });
  }

  async call(body: string | Buffer, options: CallOptions = {}): Promise<Answer> {
    return await whole((await this.open(options)).end(body));
  }

  /** For answers that do not come to their end. */
  async cut(body: string | Buffer, options: CallOptions = {}): Promise<Cut> {
    return await broken((await this.open(options)).end(body));
  }

  async control(method: string, path: string, body?: unknown): Promise<{ status: number; json: unknown }> {
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await this.call(text ?? '', { method, path, token: '' });
    return { status: answer.status, json: answer.text.startsWith('This is') ? answer.text : JSON.parse(answer.text) };
  }

  /** Forgets mail and faults. */
  async reset(): Promise<void> {
    await this.control('DELETE', '/control/arrived');
    await this.control('DELETE', '/control/faults');
  }

  /** Resolves when the fault set last has hit its first request. */
  async hit(): Promise<void> {
    await vi.waitFor(
      async () => {
        const { json } = await this.control('GET', '/control/faults');
        if ((json as { hit: number }[]).at(-1)?.hit !== 1) throw new Error('not hit yet');
      },
      { interval: 5, timeout: 5_000 },
    );
  }

  /** A TLS connection without HTTP. */
  async connect(): Promise<TLSSocket> {
    return await new Promise((resolve, reject) => {
      const { port } = new URL(this.sandbox.origin);
      const socket = connectTls({ host: '127.0.0.1', port: Number(port), ca: this.sandbox.ca }, () => resolve(socket));
      socket.on('error', reject);
    });
  }

  #open(url: URL, method: string, headers: Readonly<Record<string, string>>): ClientRequest {
    return httpsRequest(url, { method, ca: this.sandbox.ca, agent: false, headers });
  }
}

export async function whole(request: ClientRequest): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    // What goes wrong with the upload after an early answer is of no interest.
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const body = Buffer.concat(chunks);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, text: body.toString() });
      });
    });
  });
}

export async function broken(request: ClientRequest): Promise<Cut> {
  return await new Promise((resolve, reject) => {
    let text = '';
    let status = 0;
    const done = (error: NodeJS.ErrnoException): void => resolve({ cut: error.code ?? error.message, text, status });
    request.on('error', done);
    request.on('response', (response) => {
      status = response.statusCode ?? 0;
      response.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      response.on('error', done);
      response.on('end', () => reject(new Error('the answer came to its end')));
    });
  });
}

const NAMESPACES =
  'xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
  'xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" ' +
  'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"';

export interface EnvelopeOptions {
  /** '': nobody. */
  readonly as?: string;
  /** Child of ConnectingSID. */
  readonly by?: string;
}

export function envelope(operation: string, { as = SENDER, by = 'SmtpAddress' }: EnvelopeOptions = {}): string {
  const sid = `<t:ExchangeImpersonation><t:ConnectingSID><t:${by}>${as}</t:${by}></t:ConnectingSID></t:ExchangeImpersonation>`;
  return (
    `<?xml version="1.0" encoding="utf-8"?>\n<s:Envelope ${NAMESPACES}><s:Header>` +
    `<t:RequestServerVersion Version="Exchange2013_SP1"/>${as === '' ? '' : sid}</s:Header>` +
    `<s:Body>${operation}</s:Body></s:Envelope>`
  );
}

export function mail(fields: Readonly<Record<string, string>> = {}, body = 'hello\r\n'): string {
  const all: Record<string, string> = {
    From: SENDER,
    To: ALICE,
    Subject: 'test',
    'Message-ID': '<1@x.test>',
    ...fields,
  };
  const header = Object.entries(all).filter(([, value]) => value !== '');
  return `${header.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}

export interface CreateOptions {
  readonly disposition?: string;
  /** Child of SavedItemFolderId. */
  readonly folder?: string;
  /** Elements after the MIME. */
  readonly more?: string;
}

export function message(mime: string | Buffer, more = ''): string {
  return `<t:Message><t:MimeContent CharacterSet="UTF-8">${Buffer.from(mime).toString('base64')}</t:MimeContent>${more}</t:Message>`;
}

export function createItem(
  mime: string | Buffer,
  { disposition = 'SendAndSaveCopy', folder, more = '' }: CreateOptions = {},
): string {
  const saved = folder === undefined ? '' : `<m:SavedItemFolderId>${folder}</m:SavedItemFolderId>`;
  return `<m:CreateItem MessageDisposition="${disposition}">${saved}<m:Items>${message(mime, more)}</m:Items></m:CreateItem>`;
}

export function recipients(list: 'To' | 'Cc' | 'Bcc', ...addresses: readonly string[]): string {
  const boxes = addresses.map((address) => `<t:Mailbox><t:EmailAddress>${address}</t:EmailAddress></t:Mailbox>`);
  return `<t:${list}Recipients>${boxes.join('')}</t:${list}Recipients>`;
}

export function distinguished(id: string, mailbox?: string): string {
  const box = mailbox === undefined ? '' : `<t:Mailbox><t:EmailAddress>${mailbox}</t:EmailAddress></t:Mailbox>`;
  return `<t:DistinguishedFolderId Id="${id}">${box}</t:DistinguishedFolderId>`;
}

/** ResponseCodes in order; of a SOAP fault its one, with a word in front. */
export function codes(answer: Answer): string[] {
  const body = child(rootOf(answer), 'Body');
  const fault = child(body, 'Fault');
  if (fault) return [`fault ${textAt(fault, 'detail', 'ResponseCode')}`];
  return (child(body?.children[0], 'ResponseMessages')?.children ?? []).map((one) => textAt(one, 'ResponseCode'));
}

export function rootOf(answer: Answer): XmlElement {
  const root = readXml(answer.text);
  if (typeof root === 'string') throw new Error(`${root}: ${answer.text}`);
  return root;
}

/** All elements of that local name, in document order. */
export function all(answer: Answer, name: string): XmlElement[] {
  const found: XmlElement[] = [];
  const walk = (element: XmlElement): void => {
    if (element.name === name) found.push(element);
    element.children.forEach(walk);
  };
  walk(rootOf(answer));
  return found;
}
