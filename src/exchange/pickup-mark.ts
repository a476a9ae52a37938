/** What a folder says of who picks up from it (pickup-claim.ts), as text. Pure; reads whatever stands there. */

export interface Mark {
  /** Of a spool: the same after a restart. */
  readonly instance: string;
  /** Of a process. */
  readonly life: string;
  readonly machine: string;
  readonly counter: number;
}

/** Nobody does. */
export const FREE = 'free';
/** Characters of a machine's name. */
const MAX_MACHINE = 64;

/** At most 150 characters, without control characters. */
export function markText({ instance, life, machine, counter }: Mark): string {
  const name = machine.replace(/[^!-~]+/g, '-').slice(0, MAX_MACHINE);
  return `${instance}.${life} ${name === '' ? '-' : name} ${counter}`;
}

/** @returns undefined: that is no mark of this version */
export function ownerOf(text: string): Mark | undefined {
  const [, instance = '', life = '', machine = '', counter] = /^(\w+)\.(\w+) (\S+) (\d+)$/.exec(text) ?? [];
  return counter === undefined ? undefined : { instance, life, machine, counter: Number(counter) };
}

/** Text that cannot be read is somebody's all the same. */
export function isFree(text: string | undefined): text is undefined | '' | typeof FREE {
  return text === undefined || text === '' || text === FREE;
}

/** Name of the machine. */
export function machineOf(text: string | undefined): string {
  return ownerOf(text ?? '')?.machine ?? 'another machine';
}
