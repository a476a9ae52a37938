/** Large made-up content: the same for the same size, no block like another, made while it is sent. */
import { createHash } from 'node:crypto';

const LINE = 57;
const LINES = 1000;
const BLOCK = LINE * LINES;

/** Lines of base64, 76 characters each but the last. */
export function* base64Lines(size: number, lineEnd = '\r\n'): Generator<Buffer> {
  const block = Buffer.alloc(BLOCK);
  let state = 1;
  for (let at = 0; at < BLOCK; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    block[at] = state >>> 16;
  }
  for (let at = 0; at < size; at += BLOCK) {
    block.writeUInt32BE(at / BLOCK);
    const text = block.toString('base64', 0, Math.min(BLOCK, size - at));
    yield Buffer.from(text.replace(/.{1,76}/g, `$&${lineEnd}`), 'latin1');
  }
}

/** As a golden file names a long run of base64. `lines`: with CRLF. */
export function nameOf(lines: Iterable<Buffer>): string {
  const hash = createHash('sha256');
  let octets = 0;
  for (const line of lines) {
    hash.update(line);
    octets += line.length;
  }
  return `[${octets} octets of base64 lines, SHA-256 ${hash.digest('hex')}]`;
}
