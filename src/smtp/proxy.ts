/**
 * The PROXY protocol, version 2, binary (haproxy.org/download/2.9/doc/proxy-protocol.txt section 2.2), in front of a
 * connection that a balancer hands on. Version 1 is the package's. What cannot be read ends in an Error for the log, and
 * the socket is closed.
 */
import type { Socket } from 'node:net';

export interface ProxySource {
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export type ProxyReading =
  | { readonly state: 'more' }
  | { readonly state: 'other' }
  | { readonly state: 'bad'; readonly reason: string }
  /** source: absent if the balancer speaks for itself (a health check) or does not know. */
  | { readonly state: 'read'; readonly octets: number; readonly source?: ProxySource };

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const FIXED = 16;
/** Of addresses and extensions; those in use are far shorter. */
const LONGEST = 2_048;

/** @param octets what has come so far */
export function readProxyHeader(octets: Buffer): ProxyReading {
  const known = Math.min(octets.length, SIGNATURE.length);
  if (!octets.subarray(0, known).equals(SIGNATURE.subarray(0, known))) return { state: 'other' };
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
 * @param done 'other': it is no version 2, and the socket is as it was; undefined: no source is named
 */
export function takeProxyHeader(
  socket: Socket,
  done: (error: Error | undefined, source?: ProxySource | 'other') => void,
): void {
  let octets: Buffer = Buffer.alloc(0);
  const finish = (error: Error | undefined, source?: ProxySource | 'other'): void => {
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
        case 'other':
          socket.unshift(octets);
          return finish(undefined, 'other');
        case 'read':
          if (octets.length > reading.octets) socket.unshift(octets.subarray(reading.octets));
          return finish(undefined, reading.source);
      }
    }
  };
  socket.on('readable', read).on('error', finish).on('end', gone).on('close', gone);
}
