/** Answers of EWS as XML: envelopes, response messages, SOAP faults, what an error message has to carry. */
import type { Piece } from './pieces.ts';
import { MESSAGES, SOAP, TYPES } from './schema.ts';
import { valuesXml, xmlText } from './xml.ts';

type Values = Readonly<Record<string, string>>;

/** The schema wants an empty list in some messages, errors too. */
const EMPTY: Readonly<Record<string, string>> = {
  CreateItem: '<m:Items/>',
  GetItem: '<m:Items/>',
  MoveItem: '<m:Items/>',
  UpdateItem: '<m:Items/>',
  GetFolder: '<m:Folders/>',
  CreateFolder: '<m:Folders/>',
  UpdateFolder: '<m:Folders/>',
};

/** @param content after the code; absent: what the schema wants */
export function errorMessage(
  operation: string,
  code: string,
  text: string,
  values: Values = {},
  content = EMPTY[operation] ?? '',
): string {
  const pairs = valuesXml(values);
  const more = pairs === '' ? '' : `<m:MessageXml>${pairs}</m:MessageXml>`;
  return (
    `<m:${operation}ResponseMessage ResponseClass="Error"><m:MessageText>${xmlText(text)}</m:MessageText>` +
    `<m:ResponseCode>${xmlText(code)}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>${more}${content}</m:${operation}ResponseMessage>`
  );
}

export function successMessage(operation: string, content: string): string {
  return `<m:${operation}ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>${content}</m:${operation}ResponseMessage>`;
}

export function itemsMessage(operation: string, rows: readonly string[]): string {
  return successMessage(operation, `<m:Items>${rows.join('')}</m:Items>`);
}

/** The answer to an operation, from its response messages. */
export function responseEnvelope(operation: string, messages: readonly Piece[]): readonly Piece[] {
  return [
    `${BEGIN}<m:${operation}Response><m:ResponseMessages>`,
    ...messages,
    `</m:ResponseMessages></m:${operation}Response>${END}`,
  ];
}

export function faultEnvelope(code: string, text: string, values: Values = {}): Buffer {
  const pairs = valuesXml(values);
  const more = pairs === '' ? '' : `<t:MessageXml>${pairs}</t:MessageXml>`;
  const errors = 'xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors"';
  return Buffer.from(
    `${BEGIN}<s:Fault><faultcode xmlns:a="${TYPES}">a:${xmlText(code)}</faultcode><faultstring xml:lang="en-US">${xmlText(text)}</faultstring>` +
      `<detail><e:ResponseCode ${errors}>${xmlText(code)}</e:ResponseCode><e:Message ${errors}>${xmlText(text)}</e:Message>${more}</detail></s:Fault>${END}`,
  );
}

const BEGIN =
  `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="${SOAP}" xmlns:m="${MESSAGES}" xmlns:t="${TYPES}"><s:Header>` +
  '<t:ServerVersionInfo MajorVersion="15" MinorVersion="20" MajorBuildNumber="0" MinorBuildNumber="0" Version="V2018_01_08"/>' +
  '</s:Header><s:Body>';
const END = '</s:Body></s:Envelope>';
