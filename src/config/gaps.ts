/** Settings without the keys that have no value. Pure; never fails. */

type WithoutGaps<T> = {
  [Key in keyof T as undefined extends T[Key] ? never : Key]: T[Key];
} & { [Key in keyof T as undefined extends T[Key] ? Key : never]?: Exclude<T[Key], undefined> };

/** What is undefined is absent. */
export function withoutGaps<T extends object>(settings: T): WithoutGaps<T> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as WithoutGaps<T>;
}
