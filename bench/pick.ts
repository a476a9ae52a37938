/**
 * The control of the pickup bench: empties an Inbox with the gateway's own requests, as many at a time, and keeps
 * nothing of what it gets. Looks for ids in the answers as text, and for nothing else.
 * Usage: pick.ts URL CA-FILE TOKEN MAILBOX PARALLEL; prints one JSON line.
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';

const [url = '', caFile = '', token = '', mailbox = '', parallel = '4'] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: Number(parallel), ca: readFileSync(caFile) });
const BATCH = 20;
const HEAD =
  '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><soap:Header><t:RequestServerVersion Version="Exchange2013_SP1"></t:RequestServerVersion><t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>' +
  `${mailbox}</t:SmtpAddress></t:ConnectingSID></t:ExchangeImpersonation></soap:Header><soap:Body>`;
const TAIL = '</soap:Body></soap:Envelope>';
const DESCRIBED = ['ItemClass', 'Size', 'DateTimeReceived', 'Subject', 'Attachments'].map((name) => `item:${name}`);
const ENVELOPE = ['From', 'Sender', 'InternetMessageId', 'IsRead'].map((name) => `message:${name}`);
const PROPERTIES =
  '<t:ExtendedFieldURI PropertyTag="12299" PropertyType="Binary"></t:ExtendedFieldURI><t:ExtendedFieldURI PropertyTag="125" PropertyType="String"></t:ExtendedFieldURI>';

function ask(operation: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const body = Buffer.from(`${HEAD}${operation}${TAIL}`);
    const headers = {
      'content-type': 'text/xml; charset=utf-8',
      'content-length': body.length,
      authorization: `Bearer ${token}`,
      'x-anchormailbox': mailbox,
    };
    const sent = request(url, { agent, method: 'POST', headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString('latin1');
        if (text.includes('NoError')) resolve(text);
        else reject(new Error(text.slice(0, 1_000)));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const idsIn = (text: string): string[] => [...text.matchAll(/<t:ItemId Id="([^"]+)"/g)].map(([, id = '']) => id);
const shape = (fields: readonly string[], more = ''): string =>
  `<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>${fields.map((name) => `<t:FieldURI FieldURI="${name}"></t:FieldURI>`).join('')}${more}</t:AdditionalProperties></m:ItemShape>`;
const items = (ids: readonly string[]): string =>
  `<m:ItemIds>${ids.map((id) => `<t:ItemId Id="${id}"></t:ItemId>`).join('')}</m:ItemIds>`;

async function list(): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let state = ''; ;) {
    const text = await ask(
      `<m:SyncFolderItems>${shape(['item:DateTimeReceived'])}<m:SyncFolderId><t:DistinguishedFolderId Id="inbox"></t:DistinguishedFolderId></m:SyncFolderId>${state}<m:MaxChangesReturned>512</m:MaxChangesReturned><m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>`,
    );
    ids.push(...idsIn(text));
    if (text.includes('<m:IncludesLastItemInRange>true')) return ids;
    state = /<m:SyncState>[^<]*<\/m:SyncState>/.exec(text)?.[0] ?? '';
  }
}

async function take(ids: readonly string[]): Promise<void> {
  await ask(`<m:GetItem>${shape([...DESCRIBED, ...ENVELOPE], PROPERTIES)}${items(ids)}</m:GetItem>`);
  const left = ids.values();
  const worker = async (): Promise<void> => {
    for (const id of left) {
      await ask(`<m:GetItem>${shape(['item:MimeContent'])}${items([id])}</m:GetItem>`);
      await ask(
        `<m:MoveItem><m:ToFolderId><t:DistinguishedFolderId Id="archive"></t:DistinguishedFolderId></m:ToFolderId>${items([id])}</m:MoveItem>`,
      );
    }
  };
  await Promise.all(Array.from({ length: Number(parallel) }, worker));
}

const started = performance.now();
const found = await list();
for (let at = 0; at < found.length; at += BATCH) await take(found.slice(at, at + BATCH));
const seconds = (performance.now() - started) / 1000;
process.stdout.write(`${JSON.stringify({ count: found.length, rate: found.length / seconds })}\n`);
agent.destroy();
