/**
 * What several gateways on one spool know together of alarms: what each of them sees, and what somebody was told. Plain
 * data in the store; whatever stands there is read, what is no book of this version as far as it is one. Pure; never fails.
 */
import type { AlarmReason, AlarmSeverity } from '../mail/alarm.ts';
import type { Json } from '../mail/cluster.ts';
import type { Condition } from './alarm-conditions.ts';
import type { Told } from './alarm-register.ts';

/** What one gateway sees. */
export interface Sight {
  /** Name of its machine. */
  readonly host: string;
  readonly conditions: readonly Condition[];
}

export interface Book {
  /** Goes up by one with each change: what is heard of a change may arrive in any order. */
  readonly revision: number;
  /** By the id of the gateway; one that sees nothing is not there. */
  readonly seen: ReadonlyMap<string, Sight>;
  readonly told: readonly Told[];
}

export const EMPTY: Book = { revision: 0, seen: new Map(), told: [] };

export function bookIn(state: Json | undefined): Book {
  const { revision, seen, told } = fieldsOf(state);
  return {
    revision: typeof revision === 'number' ? revision : 0,
    seen: new Map(
      Object.entries(fieldsOf(seen)).flatMap(([gateway, sight]) => {
        const { host, conditions } = fieldsOf(sight);
        const read = listOf(conditions).flatMap(conditionIn);
        return typeof host !== 'string' || read.length === 0 ? [] : [[gateway, { host, conditions: read }] as const];
      }),
    ),
    told: listOf(told).flatMap((one) => {
      const { condition, toldAt, returns } = fieldsOf(one);
      if (typeof toldAt !== 'number' || typeof returns !== 'number') return [];
      return conditionIn(condition).map((read) => ({ condition: read, toldAt, returns }));
    }),
  };
}

export function jsonOf({ revision, seen, told }: Book): Json {
  return {
    revision,
    seen: Object.fromEntries(
      [...seen].map(([gateway, { host, conditions }]) => [gateway, { host, conditions: conditions.map(jsonOfOne) }]),
    ),
    told: told.map(({ condition, ...rest }) => ({ condition: jsonOfOne(condition), ...rest })),
  };
}

/** What a gateway sees from now on takes the place of what it saw. */
export function withSight({ revision, seen, told }: Book, gateway: string, sight: Sight): Book {
  const changed = new Map(seen);
  if (sight.conditions.length === 0) changed.delete(gateway);
  else changed.set(gateway, sight);
  return { revision: revision + 1, seen: changed, told };
}

/** What was told, and what gateways saw that are gone for long is forgotten. */
export function withTold({ revision, seen }: Book, told: readonly Told[], gone: ReadonlySet<string>): Book {
  return { revision: revision + 1, seen: new Map([...seen].filter(([gateway]) => !gone.has(gateway))), told };
}

/** Of each trouble once, what says most of it, and who sees it. What refused credentials explain is not told beside them. */
export function merged(sights: readonly Sight[]): readonly Condition[] {
  const all = sights.flatMap(({ conditions }) => conditions);
  const refused = new Set(all.filter(({ reason }) => reason === 'credentials').map(({ cause }) => cause));
  const isTold = ({ reason, cause }: Condition): boolean =>
    reason === 'credentials' || cause === undefined || !refused.has(cause);
  const found = new Map<string, { condition: Condition; readonly hosts: Set<string> }>();
  for (const { host, conditions } of sights) {
    for (const condition of conditions.filter(isTold)) {
      const known = found.get(condition.id);
      if (known === undefined) {
        found.set(condition.id, { condition, hosts: new Set([host]) });
        continue;
      }
      known.hosts.add(host);
      const since = Math.min(known.condition.since, condition.since);
      const fuller = condition.text.length > known.condition.text.length ? condition : known.condition;
      known.condition = { ...fuller, severity: worse(known.condition.severity, condition.severity), since };
    }
  }
  return [...found.values()].map(({ condition, hosts }) => seenBy(condition, [...hosts].toSorted()));
}

/** Figures that every gateway reads from the one spool: it says nothing who did. */
const OF_SPOOL: ReadonlySet<AlarmReason> = new Set<AlarmReason>(['mailOld', 'mailParked', 'spoolFull']);

/** With the machines of the gateways that see it. */
export function seenBy(condition: Condition, hosts: readonly string[]): Condition {
  if (OF_SPOOL.has(condition.reason)) return condition;
  return { ...condition, text: [...condition.text, `Seen by: ${hosts.join(', ')}.`] };
}

function worse(one: AlarmSeverity, other: AlarmSeverity): AlarmSeverity {
  return one === 'critical' ? one : other;
}

function jsonOfOne({ id, reason, severity, title, text, since, cause }: Condition): Json {
  return { id, reason, severity, title, text: [...text], since, cause };
}

function conditionIn(value: Json | undefined): readonly Condition[] {
  const { id, reason, severity, title, text, since, cause } = fieldsOf(value);
  const lines = listOf(text).filter((line) => typeof line === 'string');
  if (typeof id !== 'string' || typeof title !== 'string' || typeof since !== 'number') return [];
  if (typeof reason !== 'string') return [];
  // One that only a later version knows is told all the same.
  const known: Condition = {
    id,
    reason: reason as AlarmReason,
    severity: severity === 'critical' ? severity : 'warning',
    title,
    text: lines,
    since,
  };
  return [typeof cause === 'string' ? { ...known, cause } : known];
}

function fieldsOf(value: Json | undefined): { readonly [key: string]: Json | undefined } {
  return typeof value === 'object' && value !== null && !isList(value) ? value : {};
}

function listOf(value: Json | undefined): readonly Json[] {
  return isList(value) ? value : [];
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
