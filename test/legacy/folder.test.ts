/** Real folders; what a file system refuses, and a crash between any two of its calls, by way of the option. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileSystem } from '../../src/legacy/file-writer.ts';
import { folderTransport } from '../../src/legacy/folder.ts';
import type { FolderOptions } from '../../src/legacy/folder.ts';
import { SpoolError } from '../../src/mail/spool.ts';
import type { Outgoing, Transport } from '../../src/mail/transport.ts';
import { FAX, journal, large, mixed, never, outgoing, PLAIN } from './site.ts';

let path: string;
beforeEach(async () => {
  path = await fs.mkdtemp(join(tmpdir(), 'smtp2exchange-'));
});
afterEach(() => fs.rm(path, { recursive: true, force: true }));

const open = (form: FolderOptions['form'], more: Partial<FolderOptions> = {}): Transport =>
  folderTransport({ path, form, ...more });
const names = async (folder = path): Promise<string[]> => (await fs.readdir(folder)).toSorted();
const json = async (...at: string[]): Promise<Record<string, unknown>> =>
  JSON.parse(await fs.readFile(join(path, ...at), 'utf8')) as Record<string, unknown>;
const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');

const FACTS = {
  messageId: '<1@contoso.test>',
  from: 'ann@contoso.test',
  to: ['+493012345@fax.local'],
  receivedAt: '2026-11-25T09:00:05.000Z',
  mailbox: FAX,
  pickup: 'fax',
};

describe('a message as a file', () => {
  it('has its octets and its side-file, in a folder that is made', async () => {
    const given = outgoing(PLAIN);
    const { id } = given.item;
    expect(await open('message', { path: join(path, 'new', 'in') }).deliver(given, never)).toEqual({
      outcome: 'relayed',
      code: '2.0.0',
      cause: 'written',
      text: 'Written into the folder',
      reason: join(path, 'new', 'in', `${id}.json`),
    });
    expect(await names(join(path, 'new', 'in'))).toEqual([`${id}.eml`, `${id}.json`]);
    expect(await fs.readFile(join(path, 'new', 'in', `${id}.eml`), 'utf8')).toBe(PLAIN);
    expect(await json('new', 'in', `${id}.json`)).toEqual({
      id,
      ...FACTS,
      subject: 'Für dich (urgent)',
      date: '2026-11-25T09:00:00.000Z',
      size: PLAIN.length,
      message: { file: `${id}.eml`, size: PLAIN.length, sha256: sha256(PLAIN) },
    });
  });

  it('is written over what a crash left, and never over a link', async () => {
    const given = outgoing(PLAIN);
    const { id } = given.item;
    const other = join(path, 'other');
    await fs.writeFile(other, 'keep');
    await fs.symlink(other, join(path, `.tmp-${id}.eml`));
    await fs.writeFile(join(path, `.tmp-${id}.json`), 'half');
    await fs.writeFile(join(path, `${id}.eml`), 'half');
    expect((await open('message').deliver(given, never)).outcome).toBe('relayed');
    expect(await names()).toEqual([`${id}.eml`, `${id}.json`, 'other']);
    expect(await fs.readFile(join(path, `${id}.eml`), 'utf8')).toBe(PLAIN);
    expect(await fs.readFile(other, 'utf8')).toBe('keep');
  });

  it('streams', async () => {
    const size = 100 * 1024 * 1024;
    const given = large(size);
    let written = 0;
    let ahead = 0;
    const files: FileSystem = {
      ...real,
      open: async (name, flags, mode) => {
        const handle = await fs.open(name, flags, mode);
        return {
          write: async (octets) => {
            if (name.endsWith('.eml')) {
              ahead = Math.max(ahead, given.asked() - written);
              written += octets.length;
            }
            return { bytesWritten: octets.length };
          },
          sync: () => handle.sync(),
          close: () => handle.close(),
        };
      },
    };
    expect((await open('message', { files }).deliver(given, never)).outcome).toBe('relayed');
    expect(written).toBe(size);
    expect(ahead).toBeLessThanOrEqual(64 * 1024);
  });
});

describe('a message as its parts', () => {
  it('is a folder with the text, the attachments and the side-file', async () => {
    const given = outgoing(mixed(['scan.pdf', '../scan.pdf', 'CON', '']));
    const { id } = given.item;
    expect((await open('parts').deliver(given, never)).outcome).toBe('relayed');
    expect(await names()).toEqual([id]);
    const expected = ['scan.pdf', 'scan-2.pdf', '_CON', 'attachment.pdf'];
    expect(await names(join(path, id))).toEqual(
      [...expected, 'message.html', 'message.json', 'message.txt'].toSorted(),
    );
    expect(await fs.readFile(join(path, id, 'message.html'), 'utf8')).toContain('<p>Ä</p>');
    expect(await fs.readFile(join(path, id, 'scan-2.pdf'), 'utf8')).toBe('%PDF 1');
    const side = await json(id, 'message.json');
    const originals = [{ name: 'scan.pdf' }, { name: '../scan.pdf' }, { name: 'CON' }, {}];
    expect(side).toEqual({
      id,
      ...FACTS,
      subject: 'Fax',
      size: given.item.size,
      text: expect.objectContaining({ file: 'message.txt' }),
      html: expect.objectContaining({ file: 'message.html' }),
      attachments: expected.map((file, index) => ({
        file,
        ...originals[index],
        type: 'application/pdf',
        size: 6,
        sha256: sha256(`%PDF ${index}`),
      })),
    });
  });

  it('takes another name where the file system sees one name in two', async () => {
    const given = outgoing(mixed(['straße.pdf']));
    const files: FileSystem = {
      ...real,
      open: (name, flags, mode) => (name.endsWith('straße.pdf') ? refuse('EEXIST') : fs.open(name, flags, mode)),
    };
    expect((await open('parts', { files }).deliver(given, never)).outcome).toBe('relayed');
    expect(await names(join(path, given.item.id))).toContain('straße-2.pdf');
  });

  it('fails for what has too much text or too many parts, and leaves nothing', async () => {
    const many = mixed(Array.from({ length: 501 }, () => 'a.pdf'));
    const long = mixed([], `<p>${'long text. '.repeat(400_000)}</p>`);
    for (const [message, maxText] of [
      [many, undefined],
      [long, 1_000_000],
    ] as const) {
      const status = await open('parts', maxText === undefined ? {} : { maxText }).deliver(outgoing(message), never);
      expect(status).toMatchObject({ outcome: 'failed', code: '5.3.4', cause: 'too much to take apart' });
      expect(await names()).toEqual([]);
    }
  });
});

const real: FileSystem = fs;
function refuse(code: string): Promise<never> {
  return Promise.reject(Object.assign(new Error(`${code}: refused`), { code, syscall: 'open' }));
}

describe('a folder that cannot be used', () => {
  it.each([
    ['ENOSPC', { code: '4.3.1', reach: 'transport' }],
    ['EDQUOT', { code: '4.3.1', reach: 'transport' }],
    ['EACCES', { code: '4.3.5', reach: 'transport' }],
    ['EPERM', { code: '4.3.5', reach: 'transport' }],
    ['EROFS', { code: '4.3.5', reach: 'transport' }],
    ['ENOTDIR', { code: '4.3.5', reach: 'transport' }],
    ['ELOOP', { code: '4.3.5', reach: 'transport' }],
    ['EXDEV', { code: '4.3.5', reach: 'transport' }],
    ['EIO', { code: '4.3.0', reach: 'transport' }],
    ['ESTALE', { code: '4.3.0', reach: 'transport' }],
    ['EMFILE', { code: '4.3.0', reach: 'transport' }],
    ['EILSEQ', { code: '4.3.0', reach: 'message', capped: true }],
  ])('%s', async (code, status) => {
    const files: FileSystem = { ...real, open: () => refuse(code) };
    const told = await open('message', { files }).deliver(outgoing(PLAIN), never);
    expect(told).toMatchObject({ outcome: 'delayed', cause: code, ...status });
    expect(told.reason).toContain(path);
    expect(told.reason).toContain(code);
    expect(await names()).toEqual([]);
  });

  it('is told for a real file in its place, and for one below it', async () => {
    await fs.writeFile(join(path, 'file'), '');
    for (const place of ['file', 'file/below'])
      expect(await open('parts', { path: join(path, place) }).deliver(outgoing(PLAIN), never)).toMatchObject({
        outcome: 'delayed',
        code: '4.3.5',
        reach: 'transport',
      });
  });

  it.each(['message', 'parts'] as const)('that fills up half way is left without a trace (%s)', async (form) => {
    const content = Buffer.alloc(300_000, 'x').toString('base64').replaceAll(/.{76}/g, '$&\r\n');
    const message = mixed(['a.pdf', 'b.pdf']).replace(Buffer.from('%PDF 0').toString('base64'), content);
    let room = 3;
    const files: FileSystem = {
      ...real,
      open: async (name, flags, mode) => {
        const handle = await fs.open(name, flags, mode);
        return {
          write: (octets) => (room-- > 0 ? handle.write(octets.subarray(0, 100)) : refuse('ENOSPC')),
          sync: () => handle.sync(),
          close: () => handle.close(),
        };
      },
    };
    const status = await open(form, { files }).deliver(outgoing(message), never);
    expect(status).toMatchObject({ outcome: 'delayed', code: '4.3.1', cause: 'ENOSPC' });
    expect(await names()).toEqual([]);
  });

  it('need not know how to sync its names', async () => {
    const files: FileSystem = {
      ...real,
      open: async (name, flags, mode) => {
        const handle = await fs.open(name, flags, mode);
        return {
          write: (octets) => handle.write(octets),
          sync: () => (flags === 'r' ? refuse('EINVAL') : handle.sync()),
          close: () => handle.close(),
        };
      },
    };
    expect((await open('message', { files }).deliver(outgoing(PLAIN), never)).outcome).toBe('relayed');
  });

  it('is in doubt after a sync that failed behind the rename, and not after a rename that failed', async () => {
    const broken: FileSystem = { ...real, rename: () => refuse('EIO') };
    const before = outgoing(PLAIN, { journal: journal() });
    expect(await open('parts', { files: broken }).deliver(before, never)).toMatchObject({
      outcome: 'delayed',
      cause: 'EIO',
    });
    expect(await open('parts').verify(before, never)).toMatchObject({ outcome: 'absent', certain: expect.any(String) });

    let isNamed = false;
    const late: FileSystem = {
      ...real,
      rename: async (from, to) => {
        await fs.rename(from, to);
        isNamed = true;
      },
      open: (name, flags, mode) => (isNamed ? refuse('EIO') : fs.open(name, flags, mode)),
    };
    const after = outgoing(PLAIN, { journal: journal() });
    expect(await open('parts', { files: late }).deliver(after, never)).toMatchObject({
      outcome: 'unknown',
      cause: 'EIO',
    });
    expect(await open('parts').verify(after, never)).toMatchObject({ outcome: 'relayed' });
  });
});

describe('a message that cannot be read', () => {
  it('is delayed and leaves nothing', async () => {
    const short = outgoing(PLAIN, { size: PLAIN.length + 1 });
    const lost = outgoing(PLAIN, {
      // oxlint-disable-next-line require-yield -- it fails before
      async *open() {
        throw new SpoolError('io', 'the disk is gone');
      },
    });
    for (const form of ['message', 'parts'] as const) {
      expect(await open(form).deliver(short, never)).toMatchObject({
        outcome: 'delayed',
        reach: 'message',
        capped: true,
      });
      expect(await open(form).deliver(lost, never)).toMatchObject({ outcome: 'delayed', cause: 'spool io' });
    }
    expect(await names()).toEqual([]);
  });

  it('is not begun when the gateway stops, and given up half way', async () => {
    expect(await open('message').deliver(outgoing(PLAIN), AbortSignal.abort())).toMatchObject({ cause: 'ABORTED' });
    const stop = new AbortController();
    const given = outgoing(PLAIN, {
      async *open() {
        yield Buffer.from(PLAIN);
        stop.abort();
        yield Buffer.from('more');
      },
      size: PLAIN.length + 4,
    });
    expect(await open('message').deliver(given, stop.signal)).toMatchObject({ outcome: 'delayed', cause: 'ABORTED' });
    expect(await names()).toEqual([]);
  });
});

class Crash extends Error {}

/** From the call number `at` on, nothing works any more: what lies there is what a crash leaves. */
function crashing(at: number): {
  files: FileSystem;
  journalOf: (words: string[]) => ReturnType<typeof journal>;
} {
  let calls = 0;
  const step = async <T>(act: () => Promise<T>): Promise<T> => {
    if (++calls >= at) throw new Crash();
    return await act();
  };
  return {
    files: {
      mkdir: (name, options) => step(() => fs.mkdir(name, options)),
      rename: (from, to) => step(() => fs.rename(from, to)),
      rm: (name, options) => step(() => fs.rm(name, options)),
      lstat: (name, options) => step(() => fs.lstat(name, options)),
      open: async (name, flags, mode) => {
        const handle = await step(() => fs.open(name, flags, mode));
        return {
          write: (octets) => step(() => handle.write(octets)),
          sync: () => step(() => handle.sync()),
          close: () => handle.close(),
        };
      },
    },
    journalOf: (words) => {
      const kept = journal(words);
      return { words, last: () => step(() => kept.last()), write: (word) => step(() => kept.write(word)) };
    },
  };
}

/** What a consumer would see. @returns how often it was handed over */
async function consume(final: string): Promise<number> {
  if (!(await names()).includes(final)) return 0;
  for (const name of (await names()).filter((one) => !one.startsWith('.tmp-')))
    await fs.rm(join(path, name), { recursive: true });
  return 1;
}

/** @returns whether it came to its end */
async function attemptUntil(
  at: number,
  form: FolderOptions['form'],
  given: Outgoing,
  words: string[],
): Promise<boolean> {
  const { files, journalOf } = crashing(at);
  try {
    return (await open(form, { files }).deliver({ ...given, journal: journalOf(words) }, never)).outcome === 'relayed';
  } catch (error) {
    if (error instanceof Crash) return false;
    throw error;
  }
}

describe.each(['message', 'parts'] as const)('a crash in the middle of the form %s', (form) => {
  it.each(['taken at once', 'left'])(
    'hands it over once, wherever it comes, and comes again (%s)',
    async (consumer) => {
      let isWhole = false;
      for (let at = 1; !isWhole; at++) {
        expect(at).toBeLessThan(100);
        const words: string[] = [];
        const given = outgoing(mixed(['a.pdf']));
        const final = form === 'message' ? `${given.item.id}.json` : given.item.id;
        let handed = 0;
        let found = 'absent';
        // The third attempt is not cut short.
        for (const call of [at, Math.ceil(at / 2), 1_000]) {
          isWhole = (await attemptUntil(call, form, given, words)) && call === at;
          if (consumer === 'taken at once') handed += await consume(final);
          const looked = await open(form).verify({ ...given, journal: journal(words) }, never);
          found = looked.outcome;
          if (found !== 'absent') break;
          expect(looked, `crash at call ${at}`).toHaveProperty('certain');
        }
        handed += await consume(final);
        expect({ found, handed }, `crash at call ${at}`).toEqual({ found: 'relayed', handed: 1 });
        expect(await names()).toEqual([]);
      }
    },
  );
});

describe('a doubt', () => {
  it('stays where the folder is another one than it was, and where nothing was written down', async () => {
    const given = outgoing(PLAIN, { journal: journal(['renaming 1']) });
    expect(await open('message').verify(given, never)).toMatchObject({ outcome: 'unknowable' });
    expect(await open('message', { path: join(path, 'gone') }).verify(given, never)).toMatchObject({
      outcome: 'unknowable',
    });
    expect(await open('message').verify(outgoing(PLAIN), never)).toMatchObject({ outcome: 'unknowable' });
  });

  it('waits for a folder that cannot be looked into', async () => {
    const files: FileSystem = { ...real, lstat: () => refuse('EIO') };
    expect(await open('message', { files }).verify(outgoing(PLAIN), never)).toMatchObject({
      outcome: 'delayed',
      cause: 'EIO',
    });
  });
});
