/** What hostile input costs: processor time of this process, so that a busy machine changes little. */

/** Milliseconds of processor time the call took. */
export async function cost(run: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** Octets of the largest header a listener takes by default. */
export const LARGE = 256 * 1024;

/** Far more than anything linear needs for LARGE octets, far less than anything quadratic (20 s and more). */
export const LINEAR = 3000;
