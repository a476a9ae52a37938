/**
 * Names for attachments as files: whatever a sender writes becomes one harmless name on any file system. No folder, no
 * hidden file, nothing that Windows reserves or a command line would read as an option, NFC, bounded, no name twice
 * regardless of case. Pure; never fails.
 *
 * Reserved: https://learn.microsoft.com/windows/win32/fileio/naming-a-file.
 */

/** Octets of UTF-8; the least that a common file system takes is 143 (eCryptfs), and a number has to fit too. */
export const MAX_FILE_NAME = 120;
/** Octets of an extension with its dot that survives a cut. */
const MAX_EXTENSION = 16;
const RESERVED = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;
const EXTENSIONS: Readonly<Record<string, string>> = {
  'application/pdf': '.pdf',
  'application/xml': '.xml',
  'application/zip': '.zip',
  'image/gif': '.gif',
  'image/jpeg': '.jpg',
  'image/png': '.png',
  'image/tiff': '.tiff',
  'message/rfc822': '.eml',
  'text/calendar': '.ics',
  'text/csv': '.csv',
  'text/html': '.html',
  'text/plain': '.txt',
};

/** @param type media type in lower case: gives the extension where there is no name */
export function safeFileName(name: string, type: string): string {
  const last = name.toWellFormed().normalize('NFC').split(/[/\\]/).at(-1) ?? '';
  const plain = last
    // Format characters turn the direction of writing, which hides an extension.
    .replace(/[\p{C}\p{Zl}\p{Zp}<>:"|?*]/gu, '_')
    .replace(/\s/gu, ' ')
    .replace(/^[. ]+|[. ]+$/g, '');
  if (/^_*$/.test(plain)) return `attachment${EXTENSIONS[type] ?? ''}`;
  const free = RESERVED.test(plain) || plain.startsWith('-') ? `_${plain}` : plain;
  return cut(free, '');
}

/** Gives each wanted name once. */
export class FileNames {
  readonly #taken = new Set<string>();

  /** @param taken names that are used already */
  constructor(taken: readonly string[]) {
    for (const name of taken) this.#taken.add(folded(name));
  }

  /** The name, or with a number before its extension: `scan-2.pdf`. @param name from safeFileName() */
  take(name: string): string {
    let free = name;
    for (let number = 2; this.#taken.has(folded(free)); number++) free = cut(name, `-${number}`);
    this.#taken.add(folded(free));
    return free;
  }
}

/** As file systems without case compare. */
function folded(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase();
}

/** Puts something before the extension, and shortens what stands before that until all of it fits. */
function cut(name: string, tail: string): string {
  const dot = name.lastIndexOf('.');
  const hasExtension = dot > 0 && Buffer.byteLength(name.slice(dot)) <= MAX_EXTENSION;
  const extension = hasExtension ? name.slice(dot) : '';
  let room = MAX_FILE_NAME - Buffer.byteLength(tail + extension);
  let stem = '';
  for (const character of hasExtension ? name.slice(0, dot) : name) {
    room -= Buffer.byteLength(character);
    if (room < 0) break;
    stem += character;
  }
  return `${stem}${tail}${extension}`.replace(/[. ]+$/, '');
}
