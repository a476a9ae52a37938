/** Times, durations, sizes and counts as a log line words them. Pure; never fails. */

export function instant(time: number): string {
  // Beyond what a date can be (RangeError) lies only a caller's mistake; a log line is no place to fail for it.
  return Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : String(time);
}

/** Milliseconds are enough for durations in seconds. */
export function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${round(seconds < 1 ? seconds : Math.round(seconds * 100) / 100)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 360) / 10} h`;
}

export function when(time: number, now: number): string {
  return time <= now ? 'at once' : `in ${duration((time - now) / 1000)}`;
}

export function bytes(size: number): string {
  if (size < 1_000) return `${size} octets`;
  return size < 1_000_000 ? `${Math.round(size / 1_000)} kB` : `${Math.round(size / 100_000) / 10} MB`;
}

export function count(amount: number, what: string, plural = `${what}s`): string {
  return `${amount} ${amount === 1 ? what : plural}`;
}

export function place({ address, port }: { readonly address: string; readonly port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
