/**
 * An EWS that takes every CreateItem and SendItem after a given wait and looks at nothing else: what is left is the
 * gateway's own cost.
 * Usage: stub.ts MILLISECONDS; prints its port. GET answers how many requests it took, and when the first, the
 * hundredth and the last one came (epoch milliseconds).
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const wait = Number(process.argv[2] ?? 0);
let taken = 0;
let first = 0;
let hundredth = 0;
let last = 0;
const envelope = (body: string): string =>
  `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><h:ServerVersionInfo MajorVersion="15" MinorVersion="20" MajorBuildNumber="1" MinorBuildNumber="1" xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>${body}</s:Body></s:Envelope>`;
const answerTo = (operation: 'CreateItem' | 'SendItem', items: string): string =>
  envelope(
    `<m:${operation}Response xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages><m:${operation}ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>${items}</m:${operation}ResponseMessage></m:ResponseMessages></m:${operation}Response>`,
  );
const created = answerTo('CreateItem', '<m:Items/>');
/** For what goes in two steps. */
const saved = answerTo(
  'CreateItem',
  '<m:Items><t:Message><t:ItemId Id="AAMkAGQ0AAA=" ChangeKey="CQAAABYA"/></t:Message></m:Items>',
);
const sent = answerTo('SendItem', '');

/** By the beginning of a request; undefined: it does not show yet. */
function answerFor(chunk: Buffer): string | undefined {
  const text = chunk.toString('latin1');
  if (text.includes('SendItem ')) return sent;
  if (text.includes('"SaveOnly"')) return saved;
  return text.includes('<m:CreateItem') ? created : undefined;
}

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.end(JSON.stringify({ taken, first, hundredth, last }));
    return;
  }
  let answer: string | undefined;
  request.on('data', (chunk: Buffer) => {
    answer ??= answerFor(chunk);
  });
  request.on('end', () => {
    setTimeout(() => {
      taken++;
      last = Date.now();
      if (taken === 1) first = last;
      if (taken === 100) hundredth = last;
      answer ??= created;
      response.writeHead(200, {
        'content-type': 'text/xml; charset=utf-8',
        'content-length': Buffer.byteLength(answer),
      });
      response.end(answer);
    }, wait);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
