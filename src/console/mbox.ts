/** Several messages in one file (mbox, RFC 4155; lines that begin like a separator are quoted as mboxrd has it). Streams. */

export interface MboxEntry {
  /** Arrival, epoch milliseconds. */
  readonly at: number;
  readonly octets: AsyncIterable<Uint8Array>;
}

const LINE_FEED = 0x0a;
const QUOTE = Buffer.from('>');
/** Octets at the start of a line that decide: some quotes and `From `. What has more of them is no separator. */
const DECIDES = 64;

export async function* mboxOf(entries: AsyncIterable<MboxEntry>): AsyncGenerator<Uint8Array, undefined> {
  for await (const { at, octets } of entries) {
    yield Buffer.from(`From MAILER-DAEMON ${asctime(at)}\n`);
    yield* quoted(octets);
    yield Buffer.from('\n\n');
  }
  return undefined;
}

/** `Thu Nov 26 03:00:00 2026`, UTC (RFC 4155 appendix A). */
function asctime(time: number): string {
  const [weekday = '', day = '', month = '', year = '', clock = ''] = new Date(time).toUTCString().split(/[ ,]+/);
  return `${weekday} ${month} ${day} ${clock} ${year}`;
}

async function* quoted(octets: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // The start of a line that does not decide yet.
  let held = Buffer.alloc(0);
  let isStart = true;
  for await (const chunk of octets) {
    let rest: Buffer = Buffer.concat([held, chunk]);
    held = Buffer.alloc(0);
    const out: Buffer[] = [];
    while (rest.length > 0) {
      if (isStart) {
        const start = rest.subarray(0, DECIDES).toString('latin1');
        if (rest.length < DECIDES && /^>*(?:F|Fr|Fro|From)?$/.test(start)) {
          held = Buffer.from(rest);
          break;
        }
        if (/^>*From /.test(start)) out.push(QUOTE);
      }
      const end = rest.indexOf(LINE_FEED);
      isStart = end >= 0;
      out.push(end < 0 ? rest : rest.subarray(0, end + 1));
      rest = end < 0 ? Buffer.alloc(0) : rest.subarray(end + 1);
    }
    if (out.length > 0) yield Buffer.concat(out);
  }
  yield held;
}
