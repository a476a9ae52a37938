/** How the parts go over to another configuration together: all of them, or none. */
import { describe, expect, it } from 'vitest';
import { goOver } from '../../src/assembly/step.ts';
import type { Follow } from '../../src/assembly/step.ts';
import type { Config } from '../../src/config/config.ts';

// No part here looks at it.
const config = {} as Config;
const { signal } = new AbortController();

function bench(): { readonly done: string[]; part(name: string, fails?: 'prepare' | 'take'): Follow } {
  const done: string[] = [];
  return {
    done,
    part: (name, fails) => async () => {
      if (fails === 'prepare') throw new Error(`${name} cannot`);
      done.push(`prepare ${name}`);
      return {
        take: async () => {
          if (fails === 'take') throw new Error(`${name} cannot`);
          done.push(`take ${name}`);
        },
        back: async () => void done.push(`back ${name}`),
        settle: () => void done.push(`settle ${name}`),
      };
    },
  };
}

describe('the parts', () => {
  it('all prepare before one takes, and all take before one settles', async () => {
    const { done, part } = bench();
    await goOver([part('a'), async () => undefined, part('b')], config, config, signal);
    expect(done).toEqual(['prepare a', 'prepare b', 'take a', 'take b', 'settle a', 'settle b']);
  });

  it('go back, last first, where one cannot prepare', async () => {
    const { done, part } = bench();
    await expect(goOver([part('a'), part('b'), part('c', 'prepare')], config, config, signal)).rejects.toThrow(
      'c cannot',
    );
    expect(done).toEqual(['prepare a', 'prepare b', 'back b', 'back a']);
  });

  it('go back, the one that failed too, where one cannot take', async () => {
    const { done, part } = bench();
    await expect(goOver([part('a'), part('b', 'take'), part('c')], config, config, signal)).rejects.toThrow('b cannot');
    expect(done.slice(3)).toEqual(['take a', 'back c', 'back b', 'back a']);
  });

  it('go back where the gateway ends meanwhile', async () => {
    const { done, part } = bench();
    const ending = new AbortController();
    const ends: Follow = async () => {
      ending.abort();
      return undefined;
    };
    await expect(goOver([part('a'), ends], config, config, ending.signal)).rejects.toThrow('aborted');
    expect(done).toEqual(['prepare a', 'back a']);
  });
});
