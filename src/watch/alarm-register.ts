/**
 * Which alarms stand, and when somebody is told: at once when one is raised, again after `repeat` while it lasts, and
 * when it is over. What flaps is one alarm: the trouble has to stay away for SETTLE before it is called over, and for
 * twice as long with each return, at most `repeat`. Pure but for its own memory; never fails.
 */
import type { Condition, Moment } from './alarm-conditions.ts';

/** Milliseconds. */
const SETTLE = 60_000;

export interface Change {
  readonly notice: 'raised' | 'repeated' | 'recovered';
  /** As it is now; of one that is over, as it was last. */
  readonly condition: Condition;
}

/** What somebody was told, and stands. */
export interface Told {
  readonly condition: Condition;
  /** Of the steady clock. */
  readonly toldAt: number;
  /** How often it came back. */
  readonly returns: number;
}

interface Standing {
  condition: Condition;
  /** When somebody was told last; since when it is away. Of the steady clock. */
  toldAt: number;
  awaySince: number | undefined;
  returns: number;
}

export class Register {
  #repeat: number;
  readonly #standing = new Map<string, Standing>();
  /** What was over lately, and how often it had come back. */
  readonly #over = new Map<string, { readonly at: number; readonly returns: number }>();

  /** @param repeat milliseconds */
  constructor(repeat: number) {
    this.#repeat = repeat;
  }

  use(repeat: number): void {
    this.#repeat = repeat;
  }

  get told(): readonly Told[] {
    return [...this.#standing.values()].map(({ condition, toldAt, returns }) => ({ condition, toldAt, returns }));
  }

  /** What another register told takes the place of what this one did. */
  load(told: readonly Told[]): void {
    this.#over.clear();
    this.#standing.clear();
    for (const { condition, toldAt, returns } of told)
      this.#standing.set(condition.id, { condition, toldAt, returns, awaySince: undefined });
  }

  /** @param conditions all there are now */
  update(conditions: readonly Condition[], { steady }: Moment): readonly Change[] {
    for (const [id, { at }] of this.#over) if (steady - at >= this.#repeat) this.#over.delete(id);
    const here = new Set(conditions.map(({ id }) => id));
    return [
      ...conditions.flatMap((condition) => this.#present(condition, steady)),
      ...[...this.#standing].filter(([id]) => !here.has(id)).flatMap(([id, one]) => this.#absent(id, one, steady)),
    ];
  }

  #present(condition: Condition, steady: number): readonly Change[] {
    const { id } = condition;
    const one = this.#standing.get(id);
    if (one === undefined) {
      const before = this.#over.get(id);
      const returns = before === undefined ? 0 : before.returns + 1;
      this.#standing.set(id, { condition, toldAt: steady, awaySince: undefined, returns });
      return [{ notice: 'raised', condition }];
    }
    if (one.awaySince !== undefined) one.returns++;
    one.awaySince = undefined;
    // It began when it was first seen, however often it came back.
    one.condition = { ...condition, since: one.condition.since };
    if (steady - one.toldAt < this.#repeat) return [];
    one.toldAt = steady;
    return [{ notice: 'repeated', condition: one.condition }];
  }

  #absent(id: string, one: Standing, steady: number): readonly Change[] {
    one.awaySince ??= steady;
    // 2 ** 20 minutes are more than any `repeat`.
    const quiet = Math.min(this.#repeat, SETTLE * 2 ** Math.min(one.returns, 20));
    if (steady - one.awaySince < quiet) return [];
    this.#standing.delete(id);
    this.#over.set(id, { at: steady, returns: one.returns });
    return [{ notice: 'recovered', condition: one.condition }];
  }
}
