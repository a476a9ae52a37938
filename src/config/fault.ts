/**
 * What is wrong with a configuration, where, and what to do about it. Never holds a value of the file or of the
 * environment: it could be a secret in the wrong place, and the position leads to it anyway.
 */

export interface Position {
  /** From 1; 0 for the file as a whole. */
  readonly line: number;
  /** In characters (UTF-16 code units), from 1. */
  readonly column: number;
}

export interface ConfigFault extends Position {
  /** As it was given on the command line. */
  readonly file: string;
  /** `listeners[0].port`; '' where no setting is concerned. */
  readonly path: string;
  /** What is wrong, as the rest of a sentence that begins with the setting's name. */
  readonly problem: string;
  /** What to do. */
  readonly hint?: string;
}

/** Keys and list positions from the top of the file. */
export type Path = readonly (string | number)[];

export function pathText(path: Path): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index > 0 ? '.' : ''}${part}`))
    .join('');
}

/** One line: `config.yaml:12:5: listeners[0].port: must be a whole number from 0 to 65535; ...` */
export function renderFault(fault: ConfigFault): string {
  const where = fault.line === 0 ? fault.file : `${fault.file}:${fault.line}:${fault.column}`;
  const what = fault.hint === undefined ? fault.problem : `${fault.problem}; ${fault.hint}`;
  return [where, ...(fault.path === '' ? [] : [fault.path]), what].join(': ');
}

/** One line each, in the order of the file. */
export function renderFaults(faults: readonly ConfigFault[]): string {
  return inOrder(faults).map(renderFault).join('\n');
}

export function inOrder(faults: readonly ConfigFault[]): ConfigFault[] {
  return faults.toSorted((a, b) => a.line - b.line || a.column - b.column);
}
