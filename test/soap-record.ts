/** Keeps SOAP documents for the check against Microsoft's schema, one file each, in the folder SOAP_DIR if it is set. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

let saved = 0;

/** @param kind first part of the file's name */
export function recordSoap(kind: string, document: Buffer): void {
  const folder = process.env['SOAP_DIR'];
  if (folder === undefined || folder === '') return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${kind}-${process.pid}-${Date.now()}-${saved++}.xml`), document);
}
