/**
 * The accounts of a configuration, and the names of the ways out that they make. Looks at what could be read; never
 * fails.
 */
import type { Path } from './fault.ts';
import type { Context, SoundAccount, SoundSettings } from './sound.ts';

/** The way out that the section `exchange` makes. */
export const DEFAULT_ROUTE = 'exchange';

/** Each with where its settings stand. */
export function accountsIn({ exchange, routes = [] }: SoundSettings): readonly {
  readonly account: SoundAccount;
  readonly path: Path;
}[] {
  return [
    ...(exchange === undefined ? [] : [{ account: exchange, path: ['exchange'] }]),
    ...routes.flatMap((account, index) => (account === undefined ? [] : [{ account, path: ['routes', index] }])),
  ];
}

export function checkRoutes({ routes = [] }: SoundSettings, { fault }: Context): void {
  // The same file on many disks, and the same to many readers.
  const first = new Map<string, number>();
  routes.forEach((route, index) => {
    const name = route?.name?.toLowerCase();
    if (name === undefined) return;
    const path = ['routes', index, 'name'];
    const before = first.get(name);
    if (name === DEFAULT_ROUTE) {
      fault(path, 'is the name of the way out that the section exchange makes', 'give it another');
    } else if (before === undefined) first.set(name, index);
    else
      fault(path, `is the name of routes[${before}] already`, 'each needs its own; upper and lower case are the same');
  });
}
