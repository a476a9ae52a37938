/**
 * The wall around ews-javascript-api: loads it with what keeps it from doing harm, and lets it build SOAP. No other file
 * imports it; those that use it get it as a value. It escapes nothing, so what goes in is escaped by its users.
 */
import { createRequire, Module } from 'node:module';
import util from 'node:util';
import type { ExchangeService, IXHRApi } from 'ews-javascript-api';

export type {
  EmailMessage,
  ExchangeService,
  ExtendedPropertyDefinition,
  Importance,
  IXHRApi,
} from 'ews-javascript-api';
export type Library = typeof import('ews-javascript-api');

/** Takes a quarter of a second. */
export async function loadLibrary(): Promise<Library> {
  // Gone from Node 23 on, and called by the library for every extended property.
  const legacy = util as { isNullOrUndefined?: (value: unknown) => boolean };
  legacy.isNullOrUndefined ??= (value) => value === null || value === undefined;
  leaveOutItsHttpClient();
  const library = await import('ews-javascript-api');
  // It guesses the local time zone for every service, and writes to the console where it does not know it.
  Object.defineProperty(library.TimeZoneInfo, 'Local', { get: () => library.TimeZoneInfo.Utc, configurable: true });
  return library;
}

/**
 * Its HTTP client is never used, as every service is given ours, but would be loaded with all it needs: 20 MB, and the
 * packages of four login methods. An empty module takes its place.
 */
function leaveOutItsHttpClient(): void {
  const { resolve } = createRequire(import.meta.url);
  const theirs = createRequire(resolve('ews-javascript-api'));
  const filename = theirs.resolve('@ewsjs/xhr');
  if (theirs.cache[filename] !== undefined) return;
  const empty = new Module(filename);
  empty.filename = filename;
  empty.loaded = true;
  theirs.cache[filename] = empty;
}

/** A status no server has: the library passes it on without looking at anything else. */
export const UNUSABLE = { status: 599, responseText: '', getAllResponseHeaders: () => '' };

/**
 * A new one for each request: a service keeps the header fields of the last answer it saw.
 * @param mailbox the impersonated one, escaped
 * @param xhr gets the document of each request
 */
export function serviceOf(
  library: Library,
  { url, mailbox }: { readonly url: string; readonly mailbox: string },
  xhr: (soap: string) => Promise<XMLHttpRequest>,
): ExchangeService {
  const service = new library.ExchangeService(library.ExchangeVersion.Exchange2013_SP1);
  service.Url = new library.Uri(url);
  // It asks for credentials but gets none: the authorizer writes the request's header.
  service.Credentials = new library.OAuthCredentials('unused', true);
  service.ImpersonatedUserId = new library.ImpersonatedUserId(library.ConnectingIdType.SmtpAddress, mailbox);
  const api: Pick<IXHRApi, 'xhr'> = { xhr: ({ data }) => xhr(String(data)) };
  service.XHRApi = api as IXHRApi;
  return service;
}

/** The document of the one request that `use` makes; it is not sent, and the library sees no answer to it. */
export async function documentOf(
  library: Library,
  target: { readonly url: string; readonly mailbox: string },
  use: (service: ExchangeService) => Promise<unknown>,
): Promise<string> {
  let document: string | undefined;
  const service = serviceOf(library, target, async (soap) => {
    document = soap;
    throw UNUSABLE;
  });
  let failure: unknown;
  try {
    await use(service);
  } catch (error) {
    failure = error;
  }
  if (document === undefined) throw new Error('the EWS library could not build a request', { cause: failure });
  return document;
}
