/**
 * The transcript of one device, as a script a person can read and write: one file a device, one line a line of the dialog.
 *
 *   # comment
 *   C: MAIL FROM:<a@b.c>     sent, with the line end that holds; lines in a row are one write, as a pipelining client's
 *   S: 250 2.1.0             beginning of the next reply's last line
 *   S: 250-SIZE              before it: beginning of one of that reply's lines; those not named may stand between
 *   @listener {tls: none}    settings of the listener, in YAML as in config.yaml; once, before the dialog
 *   @tls                     TLS from the first octet
 *   @starttls TLSv1 AES128-SHA   handshake now; version and cipher if only that one is known to the device
 *   @line-ends LF            for the lines that follow: CRLF (at first), LF or CR
 *   @chunks 1                octets of one write from here on; 0: no limit
 *   @attachment 60MB         as many octets of made-up content, in lines of base64
 *   @wait 50ms
 *   @closed                  the server closes the connection
 *   @hang-up                 the client does, without a word
 *   @reconnect               a new connection follows; the old one is closed by the client
 *
 * In C: lines `\x00` to `\xff` are octets, `\r` `\n` `\t` `\\` as usual, and a backslash at the end leaves out the line end.
 * A fault in a script is an Error that names file and line.
 */
import { parse } from 'yaml';

export type Step =
  | { readonly kind: 'send'; readonly octets: Buffer; readonly chunk: number }
  /** Beginnings: of some lines in order, then of the last one. */
  | { readonly kind: 'reply'; readonly lines: readonly string[] }
  | { readonly kind: 'tls'; readonly version?: string; readonly cipher?: string }
  | { readonly kind: 'attachment'; readonly size: number; readonly lineEnd: string }
  | { readonly kind: 'wait'; readonly milliseconds: number }
  | { readonly kind: 'closed' | 'hang-up' | 'reconnect' };

export interface NumberedStep {
  readonly step: Step;
  readonly line: number;
}

export interface Script {
  readonly name: string;
  readonly listener: Readonly<Record<string, unknown>>;
  readonly steps: readonly NumberedStep[];
}

const LINE_ENDS: Readonly<Record<string, string>> = { CRLF: '\r\n', LF: '\n', CR: '\r' };
const UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1e3, MB: 1e6 };

/** @param name for messages */
export function readScript(name: string, text: string): Script {
  const reading = new Reading(name);
  for (const [index, line] of text.split('\n').entries()) reading.read(line, index + 1);
  return reading.end();
}

class Reading {
  readonly #name: string;
  readonly #steps: NumberedStep[] = [];
  #listener: Record<string, unknown> | undefined;
  #lineEnd = '\r\n';
  #chunk = 0;
  #line = 0;
  /** Lines of the client, or of one reply, that are not a step yet. */
  #said: Buffer[] = [];
  #earlier: string[] = [];
  #since = 0;

  constructor(name: string) {
    this.#name = name;
  }

  read(line: string, number: number): void {
    this.#line = number;
    if (line === '' || line.startsWith('#')) return;
    const [, kind, rest = ''] = /^(C:|S:|@)(?: ?)(.*)$/.exec(line) ?? [];
    if (kind === 'C:') {
      if (this.#said.length === 0) this.#since = number;
      this.#said.push(octetsOf(rest, this.#lineEnd, () => this.#fault('no such escape')));
    } else if (kind === 'S:') {
      this.#flush();
      this.#earlier.push(rest);
      if (!/^\d{3}-/.test(rest)) this.#add({ kind: 'reply', lines: this.#earlier.splice(0) });
    } else if (kind === '@') {
      this.#directive(rest);
    } else {
      throw this.#fault('a line begins with C:, S:, @ or #');
    }
  }

  end(): Script {
    this.#flush();
    if (this.#earlier.length > 0) throw this.#fault('a reply has no last line');
    return { name: this.#name, listener: this.#listener ?? {}, steps: this.#steps };
  }

  #directive(text: string): void {
    const [, word = '', argument = ''] = /^(\S+)\s*(.*)$/.exec(text) ?? [];
    this.#flush();
    switch (word) {
      case 'listener':
        if (this.#listener !== undefined || this.#steps.length > 0) throw this.#fault('the listener comes first, once');
        this.#listener = parse(argument) as Record<string, unknown>;
        return;
      case 'line-ends':
        this.#lineEnd = LINE_ENDS[argument] ?? this.#throw('line ends are CRLF, LF or CR');
        return;
      case 'chunks':
        this.#chunk = Number(argument);
        return;
      case 'tls':
      case 'starttls': {
        const [version, cipher] = argument.split(/\s+/).filter((one) => one !== '');
        this.#add({
          kind: 'tls',
          ...(version === undefined ? {} : { version }),
          ...(cipher === undefined ? {} : { cipher }),
        });
        return;
      }
      case 'attachment': {
        const [, number, unit = ''] = /^(\d+)(B|KB|MB)$/.exec(argument) ?? [];
        const factor = UNITS[unit] ?? this.#throw('a size is a number with B, KB or MB');
        this.#add({ kind: 'attachment', size: Number(number) * factor, lineEnd: this.#lineEnd });
        return;
      }
      case 'wait':
        this.#add({
          kind: 'wait',
          milliseconds: Number(/^(\d+)ms$/.exec(argument)?.[1] ?? this.#throw('a wait has ms')),
        });
        return;
      case 'closed':
      case 'hang-up':
      case 'reconnect':
        this.#add({ kind: word });
        return;
      default:
        throw this.#fault(`no directive @${word}`);
    }
  }

  #flush(): void {
    if (this.#said.length === 0) return;
    const octets = Buffer.concat(this.#said.splice(0));
    this.#steps.push({ step: { kind: 'send', octets, chunk: this.#chunk }, line: this.#since });
  }

  #add(step: Step): void {
    this.#steps.push({ step, line: this.#line });
  }

  #throw(what: string): never {
    throw this.#fault(what);
  }

  #fault(what: string): Error {
    return new Error(`${this.#name}.dialog:${this.#line}: ${what}`);
  }
}

const ESCAPES: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t', '\\': '\\' };

function octetsOf(text: string, lineEnd: string, fault: () => Error): Buffer {
  const parts: Buffer[] = [];
  let end = lineEnd;
  for (const piece of text.match(/\\x[0-9a-f]{2}|\\.?|[^\\]+/gis) ?? []) {
    if (!piece.startsWith('\\')) parts.push(Buffer.from(piece));
    else if (piece.length === 4) parts.push(Buffer.from(piece.slice(2), 'hex'));
    else if (piece === '\\') end = '';
    else {
      const escaped = ESCAPES[piece.slice(1)];
      if (escaped === undefined) throw fault();
      parts.push(Buffer.from(escaped));
    }
  }
  return Buffer.concat([...parts, Buffer.from(end)]);
}
