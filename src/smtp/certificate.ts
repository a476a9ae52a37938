/**
 * The certificate a listener shows, read again when its files change. Promises: what is handed out always belongs
 * together and can be used; a replacement caught half way (one of two files, a file half written, half a chain) leaves
 * the certificate before in use and is told once. Files are read every few seconds rather than watched: that sees
 * renames, links that are turned (Kubernetes) and network file systems alike.
 *
 * Where none is configured one is made and kept in a folder. Fails only at the start, with an Error that says why.
 */
import { domainToASCII } from 'node:url';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { createSecureContext } from 'node:tls';
import type { Report } from '../mail/event.ts';
import type { Fault, PairRead } from '../tls/pair.ts';
import { readPair } from '../tls/pair.ts';
import { readText, writeSafely } from '../tls/pemfile.ts';
import { readPfx } from '../tls/pkcs12.ts';
import type { KeyPair } from '../tls/selfsigned.ts';
import { makeCertificate } from '../tls/selfsigned.ts';

export type CertificateFiles =
  | NamedFiles
  /** An existing folder, and the name the certificate is for. */
  | { readonly generateIn: string; readonly hostname: string };

type NamedFiles = (PemFiles | { readonly pfxFile: string }) & { readonly passphrase?: string };

interface PemFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

interface OurFiles extends PemFiles {
  readonly hostname: string;
}

export interface CertificateOptions {
  readonly report: Report;
  /** For the events. */
  readonly listener: string;
  /** The oldest version the listener speaks; default 1.2. */
  readonly minTls?: '1.0' | '1.1' | '1.2' | '1.3';
  /** Milliseconds between two looks at the files. */
  readonly interval?: number;
  /** Milliseconds a change must stand before it is taken. */
  readonly settle?: number;
  readonly now?: () => number;
  /** Waits for milliseconds; rejects if the signal aborts. */
  readonly pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

export interface CertificateSource {
  /** PEM; the key is not encrypted. */
  current(): KeyPair;
  /** Told after each change. One that throws keeps the certificate before in use. */
  onChange(take: (pair: KeyPair) => void): void;
  /** Looks at once. Resolves when that is decided; never rejects. */
  reload(): Promise<void>;
  /** After it nothing is told any more. */
  close(): void;
}

const INTERVAL = 5_000;
const SETTLE = 500;
/** Files that never come to rest are left to the next round. */
const MOST_LOOKS = 5;
const DAY = 86_400_000;
/** An expiry is told from so long before on, once a day. */
const WARN_BEFORE = 21 * DAY;
/** A made certificate is replaced so long before its end. */
const RENEW_BEFORE = 30 * DAY;
/** Devices that were told to trust it must not be told again soon. */
const GOOD_FOR = 3_650 * DAY;

export async function certificateSource(
  files: CertificateFiles,
  options: CertificateOptions,
): Promise<CertificateSource> {
  const source = new Watched(files, options);
  await source.begin();
  return source;
}

type Usable = Extract<PairRead, { ok: true }>;

class Watched implements CertificateSource {
  readonly #files: NamedFiles;
  /** Set if the certificate is ours to make. */
  readonly #ours: OurFiles | undefined;
  readonly #options: CertificateOptions;
  readonly #now: () => number;
  readonly #takers: ((pair: KeyPair) => void)[] = [];
  readonly #closed = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #usable: Usable | undefined;
  /** What was read last: files that are the same need no judgement again. */
  #last: { readonly texts: readonly string[]; readonly read: FilesRead } | undefined;
  /** The failure told last. */
  #told: string | undefined;
  #warnedAt = -Infinity;
  /** Looks come one after the other. */
  #looking: Promise<void> = Promise.resolve();
  #isLooking = false;

  constructor(files: CertificateFiles, options: CertificateOptions) {
    if ('generateIn' in files) {
      const { generateIn, hostname } = files;
      this.#files = { certFile: join(generateIn, 'smtp-cert.pem'), keyFile: join(generateIn, 'smtp-key.pem') };
      this.#ours = { ...this.#files, hostname };
    } else this.#files = files;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  async begin(): Promise<void> {
    let read = await this.#read();
    const ours = this.#ours;
    if (ours !== undefined && !(read.ok && this.#isFresh(read))) read = await this.#make(ours);
    if (!read.ok) throw new Error(`Certificate of listener "${this.#options.listener}": ${read.reason}`);
    this.#use(read);
    this.#timer = setInterval(() => {
      if (!this.#isLooking) void this.reload();
    }, this.#options.interval ?? INTERVAL);
    this.#timer.unref();
  }

  current(): KeyPair {
    if (this.#usable === undefined) throw new Error('the certificate is not read yet');
    return this.#usable.pair;
  }

  onChange(take: (pair: KeyPair) => void): void {
    this.#takers.push(take);
  }

  reload(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#closed.abort();
  }

  async #look(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#isLooking = true;
    try {
      await this.#decide();
    } catch (cause) {
      // Only the pause throws, when we are closed; all else is a bug, and the certificate in use stays.
      if (!this.#closed.signal.aborted) {
        const error = cause instanceof Error ? cause : new Error(String(cause));
        this.#options.report({ event: 'bug', where: 'smtp certificate', error });
      }
    } finally {
      this.#isLooking = false;
    }
  }

  async #decide(): Promise<void> {
    let read = await this.#settled();
    if (read === undefined) return;
    const ours = this.#ours;
    if (ours !== undefined && (read.ok ? !this.#isFresh(read) : read.isMissing)) read = await this.#make(ours);
    if (this.#closed.signal.aborted) return;
    if (!read.ok) this.#fail(read.reason);
    else if (!this.#isInUse(read) || this.#told !== undefined) this.#use(read);
    this.#warn();
  }

  /** Whoever replaces files does one after the other: what is new must still be there a moment later. */
  async #settled(): Promise<FilesRead | undefined> {
    const { settle = SETTLE, pause = defaultPause } = this.#options;
    let read = await this.#read();
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      if (this.#isInUse(read)) return read;
      await pause(settle, this.#closed.signal);
      const again = await this.#read();
      if (isSame(read, again)) return again;
      read = again;
    }
    return undefined;
  }

  #isInUse(read: FilesRead): boolean {
    const pair = this.#usable?.pair;
    return read.ok && read.pair.cert === pair?.cert && read.pair.key === pair.key;
  }

  /** Of one that we made; another that somebody put in its place is theirs to renew. */
  #isFresh({ leaf }: Usable): boolean {
    return leaf.validToDate.getTime() - this.#now() > RENEW_BEFORE || leaf.issuer !== leaf.subject;
  }

  async #read(): Promise<FilesRead> {
    const files = this.#files;
    const names = 'pfxFile' in files ? [files.pfxFile] : [files.certFile, files.keyFile];
    const texts: string[] = [];
    for (const name of names) {
      const file = await readText(name);
      if (!file.ok) return file;
      texts.push(file.text);
    }
    if (this.#last?.texts.every((text, at) => text === texts[at]) === true) return this.#last.read;
    const read = this.#judged(await pairIn(files, texts), names[0]);
    this.#last = { texts, read };
    return read;
  }

  #judged(read: Usable | string, certFile: string | undefined): FilesRead {
    if (typeof read === 'string') return { ok: false, reason: read, isMissing: false };
    try {
      const { minTls = '1.2' } = this.#options;
      const isOld = minTls === '1.0' || minTls === '1.1';
      // As the listener does: with old versions OpenSSL takes the weak keys of their time as well.
      createSecureContext({ ...read.pair, ...(isOld ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}) });
      return read;
    } catch (error) {
      return { ok: false, reason: `TLS cannot use it: ${messageOf(error)} (${certFile})`, isMissing: false };
    }
  }

  #use(read: Usable): void {
    const before = this.#usable?.pair;
    if (!this.#isInUse(read)) {
      try {
        for (const take of this.#takers) take(read.pair);
      } catch (error) {
        if (before !== undefined) for (const take of this.#takers) take(before);
        return this.#fail(`the listener cannot use it: ${messageOf(error)}`);
      }
    }
    this.#usable = read;
    this.#told = undefined;
    this.#warnedAt = -Infinity;
    const { listener, report } = this.#options;
    report({ event: 'certificate.loaded', listener, ...facts(read), generated: this.#ours !== undefined });
  }

  #fail(reason: string): void {
    if (this.#told === reason) return;
    this.#told = reason;
    this.#options.report({ event: 'certificate.failed', listener: this.#options.listener, reason });
  }

  #warn(): void {
    const read = this.#usable;
    const now = this.#now();
    if (read === undefined || facts(read).expiresAt - now > WARN_BEFORE || now - this.#warnedAt < DAY) return;
    this.#warnedAt = now;
    this.#options.report({ event: 'certificate.expiring', listener: this.#options.listener, ...facts(read) });
  }

  /** A new pair in its files. Listeners that share a folder share what one of them made. */
  #make({ hostname, certFile, keyFile }: OurFiles): Promise<FilesRead> {
    return oneAtATime(certFile, async () => {
      const there = await this.#read();
      if (there.ok && this.#isFresh(there)) return there;
      try {
        const pair = await makeCertificate(requestFor(hostname, this.#now()));
        // A crash between the two leaves a pair that does not fit; the next start makes a new one.
        await writeSafely(keyFile, pair.key, 0o600);
        await writeSafely(certFile, pair.cert, 0o644);
      } catch (error) {
        return {
          ok: false,
          reason: `none is configured and a new one cannot be kept: ${messageOf(error)}`,
          isMissing: false,
        };
      }
      return this.#read();
    });
  }
}

const defaultPause = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  wait(milliseconds, undefined, { ref: false, signal });

/** @returns what the files hold together, or why it cannot be used */
async function pairIn(files: NamedFiles, [first = '', second = '']: readonly string[]): Promise<Usable | string> {
  if ('pfxFile' in files) {
    const read = await readPfx(Buffer.from(first, 'latin1'), files.passphrase);
    return read.ok ? read : inWords(files.pfxFile, read);
  }
  const read = readPair(first, second, files.passphrase);
  return read.ok ? read : read.faults.map((fault) => inWords(files[fault.file], fault)).join(', and ');
}

function inWords(file: string, { problem, hint }: Fault): string {
  return `${file} ${problem}${hint === undefined ? '' : `; ${hint}`}`;
}

type FilesRead = Usable | { readonly ok: false; readonly reason: string; readonly isMissing: boolean };

function isSame(one: FilesRead, other: FilesRead): boolean {
  if (one.ok && other.ok) return one.pair.cert === other.pair.cert && one.pair.key === other.pair.key;
  return !one.ok && !other.ok && one.reason === other.reason;
}

function facts({ leaf }: Usable): { subject: string; expiresAt: number } {
  return { subject: leaf.subject.replace(/\n/g, ', '), expiresAt: leaf.validToDate.getTime() };
}

function requestFor(hostname: string, now: number): Parameters<typeof makeCertificate>[0] {
  const name = isIP(hostname) === 0 ? domainToASCII(hostname) : hostname;
  return {
    commonName: name === '' || name.length > 64 ? 'smtp2exchange' : name,
    keyType: 'rsa',
    // A device whose clock is a little behind must not refuse it.
    notBefore: new Date(now - DAY),
    notAfter: new Date(now + GOOD_FOR),
    use: 'server',
    names: [...new Set([...(name === '' ? [] : [name]), 'localhost'])],
  };
}

const turns = new Map<string, Promise<unknown>>();

async function oneAtATime<T>(key: string, work: () => Promise<T>): Promise<T> {
  const turn = (turns.get(key) ?? Promise.resolve()).then(work, work);
  turns.set(key, turn);
  try {
    return await turn;
  } finally {
    if (turns.get(key) === turn) turns.delete(key);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
