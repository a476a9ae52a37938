/**
 * The PROXY protocol (haproxy.org/download/2.9/doc/proxy-protocol.txt), version 1, a line, and version 2, binary, in front
 * of a connection that a balancer hands on. What cannot be read ends in an Error for the log, and the socket is closed
 * without a word: who sends no such header is no mail client, or one that does not come through the balancer.
 */
import type { Socket } from 'node:net';
import { isIPv4, isIPv6 } from 'node:net';

export interface ProxySource {
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export type ProxyReading =
  | { readonly state: 'more' }
  | { readonly state: 'bad'; readonly reason: string }
  /** source: absent if the balancer speaks for itself (a health check) or does not know. */
  | { readonly state: 'read'; readonly octets: number; readonly source?: ProxySource };

/** Version 1 (section 2.1): the longest line there can be, CRLF included. */
const LONGEST_LINE = 107;
const LINE = Buffer.from('PROXY ');
/** Version 2 (section 2.2). */
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIXED = 16;
/** Of addresses and extensions; those in use are far shorter. */
const LONGEST = 2_048;

/** @param octets what has come so far */
export function readProxyHeader(octets: Buffer): ProxyReading {
  if (isBegun(octets, LINE)) return readLine(octets);
  if (isBegun(octets, SIGNATURE)) return readBinary(octets);
  return { state: 'bad', reason: 'there is none' };
}

/** As far as it has come. */
function isBegun(octets: Buffer, beginning: Buffer): boolean {
  const known = Math.min(octets.length, beginning.length);
  return octets.subarray(0, known).equals(beginning.subarray(0, known));
}

function readLine(octets: Buffer): ProxyReading {
  const end = octets.subarray(0, LONGEST_LINE).indexOf('\r\n');
  if (end < 0)
    return octets.length < LONGEST_LINE
      ? { state: 'more' }
      : { state: 'bad', reason: `a line of more than ${LONGEST_LINE} octets` };
  const size = end + 2;
  const [, family = '', remoteAddress = '', destination = '', remotePort = '', port = '', ...more] = octets
    .toString('latin1', 0, end)
    .split(' ');
  if (family === 'UNKNOWN') return { state: 'read', octets: size };
  const isAddress = { TCP4: isIPv4, TCP6: isIPv6 }[family];
  if (isAddress === undefined) return { state: 'bad', reason: 'neither TCP4, TCP6 nor UNKNOWN' };
  const isPort = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
  const isGood =
    [remoteAddress, destination].every((address) => /^[\da-f:.]+$/i.test(address) && isAddress(address)) &&
    [remotePort, port].every(isPort) &&
    more.length === 0;
  if (!isGood) return { state: 'bad', reason: `not two addresses and two ports after ${family}` };
  return { state: 'read', octets: size, source: { remoteAddress, remotePort: Number(remotePort) } };
}

function readBinary(octets: Buffer): ProxyReading {
  if (octets.length < FIXED) return { state: 'more' };
  const command = octets.readUInt8(12);
  const family = octets.readUInt8(13);
  const length = octets.readUInt16BE(14);
  if (command !== 0x20 && command !== 0x21) return { state: 'bad', reason: 'unknown version or command' };
  if (length > LONGEST) return { state: 'bad', reason: `longer than ${LONGEST} octets` };
  if (octets.length < FIXED + length) return { state: 'more' };
  const size = FIXED + length;
  if (command === 0x20 || family === 0x00) return { state: 'read', octets: size };
  const body = octets.subarray(FIXED, size);
  if (family === 0x11 && length >= 12) {
    const source = { remoteAddress: [...body.subarray(0, 4)].join('.'), remotePort: body.readUInt16BE(8) };
    return { state: 'read', octets: size, source };
  }
  if (family === 0x21 && length >= 36) {
    const groups = Array.from({ length: 8 }, (_, index) => body.readUInt16BE(2 * index).toString(16));
    return {
      state: 'read',
      octets: size,
      source: { remoteAddress: groups.join(':'), remotePort: body.readUInt16BE(32) },
    };
  }
  return { state: 'bad', reason: 'neither TCP over IPv4 nor over IPv6' };
}

/**
 * Takes the header from the socket.
 * @param done without a source: the balancer names none
 */
export function takeProxyHeader(socket: Socket, done: (error: Error | undefined, source?: ProxySource) => void): void {
  let octets: Buffer = Buffer.alloc(0);
  const finish = (error: Error | undefined, source?: ProxySource): void => {
    socket.off('readable', read).off('error', finish).off('end', gone).off('close', gone);
    // Whatever still goes wrong with the socket is nobody's news.
    if (error !== undefined) socket.on('error', () => undefined).destroy();
    done(error, source);
  };
  const gone = (): void => finish(new Error('Socket closed before the PROXY header'));
  const read = (): void => {
    for (let chunk: unknown = socket.read(); Buffer.isBuffer(chunk); chunk = socket.read()) {
      octets = octets.length === 0 ? chunk : Buffer.concat([octets, chunk]);
      const reading = readProxyHeader(octets);
      switch (reading.state) {
        case 'more':
          continue;
        case 'bad':
          return finish(new Error(`PROXY header: ${reading.reason}`));
        case 'read':
          if (octets.length > reading.octets) socket.unshift(octets.subarray(reading.octets));
          return finish(undefined, reading.source);
      }
    }
  };
  socket.on('readable', read).on('error', finish).on('end', gone).on('close', gone);
}
