/** Answers of EWS to what mail is picked up with, as Exchange and as Gromox write them. */
import type { Answer } from './ews-peer.ts';
import { envelope } from './ews-peer.ts';

/** Gromox declares its namespaces where it uses them, under other prefixes. */
export type Dialect = 'exchange' | 'gromox';

/** @param messages what is inside of each response message, or the code of its error */
export function answerOf(operation: string, ...messages: readonly (string | { readonly error: string })[]): string {
  const parts = messages.map((message) =>
    typeof message === 'string'
      ? `<m:${operation}ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>${message}</m:${operation}ResponseMessage>`
      : `<m:${operation}ResponseMessage ResponseClass="Error"><m:MessageText>It did not work.</m:MessageText>` +
        `<m:ResponseCode>${message.error}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:${operation}ResponseMessage>`,
  );
  return envelope(
    `<m:${operation}Response><m:ResponseMessages>${parts.join('')}</m:ResponseMessages></m:${operation}Response>`,
  );
}

export function inDialect(dialect: Dialect, text: string): string {
  if (dialect === 'exchange') return text;
  return text
    .replace(/<\?xml[^>]*\?>/, '')
    .replace(/(<\/?)s:/g, '$1SOAP:')
    .replace('xmlns:s=', 'xmlns:SOAP=')
    .replace(/(<\/?)m:/g, '$1nm:')
    .replace('xmlns:m=', 'xmlns:nm=')
    .replace(/(<\/?)t:/g, '$1')
    .replace('xmlns:t=', 'xmlns=');
}

export function reply(text: string | Buffer, status = 200, headers: Record<string, string> = {}): Answer {
  return (_seen, response) => response.writeHead(status, { 'content-type': 'text/xml', ...headers }).end(text);
}

/** What an answer to GetItem holds of one item. @param more elements in the item */
export function item(id: string, more: string, element = 'Message'): string {
  return `<m:Items><t:${element}><t:ItemId Id="${id}" ChangeKey="CQ"/>${more}</t:${element}></m:Items>`;
}

export function extended(tag: string, type: string, value: string): string {
  return `<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="${tag}" PropertyType="${type}"/><t:Value>${value}</t:Value></t:ExtendedProperty>`;
}

export function folder(id: string, name: string, element = 'Folder'): string {
  return `<t:${element}><t:FolderId Id="${id}" ChangeKey="AQ"/><t:DisplayName>${name}</t:DisplayName></t:${element}>`;
}

export function folderPage(folders: string, isLast = true): string {
  return `<m:RootFolder IndexedPagingOffset="1" TotalItemsInView="9" IncludesLastItemInRange="${isLast}"><t:Folders>${folders}</t:Folders></m:RootFolder>`;
}
