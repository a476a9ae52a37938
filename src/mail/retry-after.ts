/** How long a server asks to wait (RFC 9110 section 10.2.3). Pure; what cannot be read says nothing. */

/**
 * Milliseconds from now. A date is measured from the answer's own Date, so that it does not matter whether the two clocks
 * agree; without one, from `now` (epoch milliseconds).
 * @param headers names in lower case
 */
export function retryAfterOf(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const value = headers['retry-after']?.trim();
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1_000;
  const told = Date.parse(headers['date'] ?? '');
  const wait = Date.parse(value) - (Number.isNaN(told) ? now : told);
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}
