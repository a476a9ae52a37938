/**
 * What the framing of smtp-server lacks: a strict listener must not take a bare LF for the end of a command line, a
 * lenient one may be told to take LF.LF for the end of a message. Both stand in front of the package's parser, which
 * keeps its own rules. Never fails.
 */
import { LfEnd } from './lf-end.ts';

/** The package's parser, as far as it is needed here. */
export interface Parser {
  readonly isClosed: boolean;
  readonly _dataMode: boolean;
  /** Begin of a line that has not ended yet. */
  readonly _remainder: string;
  _continueCallback: (() => void) | boolean;
  continue: () => void;
  _write: (chunk: Buffer, encoding: BufferEncoding | 'buffer', next: (error?: Error | null) => void) => void;
}

export interface Framing {
  /** The next command line ends with a bare LF. */
  readonly onBareLf?: () => void;
  /** LF.LF ends messages; one has. */
  readonly onLfEnd?: () => void;
}

const LF = 0x0a;
const CR = 0x0d;
/** Lines after which others get their turn. */
const MOST_LINES = 100;

export function frame(parser: Parser, { onBareLf, onLfEnd }: Framing): void {
  // The package's forgets what comes behind a second message if one write holds both: the session would hang.
  parser.continue = () => {
    const resume = parser._continueCallback;
    parser._continueCallback = typeof resume !== 'function';
    if (typeof resume === 'function') resume();
  };
  const write = parser._write.bind(parser);
  if (onLfEnd !== undefined) {
    const end = new LfEnd();
    parser._write = (chunk, encoding, next) => {
      if (!parser._dataMode || parser.isClosed) return write(chunk, encoding, next);
      const { octets, ended } = end.read(chunk);
      if (ended) onLfEnd();
      write(octets, encoding, next);
    };
  }
  if (onBareLf !== undefined) parser._write = lineByLine(parser, write, onBareLf);
}

/** The package tells a line without its end: every line is a write of its own, so that it can be told before. */
function lineByLine(parser: Parser, write: Parser['_write'], onBareLf: () => void): Parser['_write'] {
  return (chunk, encoding, next) => {
    let at = 0;
    let lines = 0;
    const step = (): void => {
      for (;;) {
        const end = parser._dataMode || parser.isClosed ? -1 : chunk.indexOf(LF, at);
        if (end < 0) return write(chunk.subarray(at), encoding, next);
        const isBare = end > at ? chunk[end - 1] !== CR : !parser._remainder.endsWith('\r');
        if (isBare) onBareLf();
        const line = chunk.subarray(at, end + 1);
        at = end + 1;
        let isDone = false;
        let isLater = false;
        write(line, encoding, (error) => {
          if (error) return next(error);
          isDone = true;
          if (isLater) step();
        });
        isLater = true;
        if (!isDone) return;
        if (++lines % MOST_LINES === 0) return void setImmediate(step);
      }
    };
    step();
  };
}
