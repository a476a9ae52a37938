/**
 * Rules and lists that could never have an effect: they name what does not exist, or an earlier one takes all that they
 * would. Looks at what could be read; never fails. What is reported is certain; not everything that is so is found.
 */
import { matcher } from '../mail/pattern.ts';
import type { Path } from './fault.ts';
import { covers } from './network.ts';
import { DEFAULT_ROUTE } from './routes.ts';
import type { Context, SoundSettings } from './sound.ts';
import { suggest } from '../mail/suggest.ts';

type Rule = NonNullable<NonNullable<NonNullable<SoundSettings['senders']>['rules']>[number]>;

export function checkRules(settings: SoundSettings, context: Context): void {
  const rules = settings.senders?.rules ?? [];
  rules.forEach((rule, index) => {
    if (rule === undefined) return;
    const path = ['senders', 'rules', index];
    checkNamed(rule, path, settings, context);
    checkRoute(rule, path, settings, context);
    checkDisplayName(rule, path, context);
    // What could not be read of an earlier one might make it narrower.
    const earlier = rules.findIndex(
      (other, at) =>
        at < index && other !== undefined && context.isWhole(['senders', 'rules', at]) && takesAll(other, rule),
    );
    if (earlier >= 0) {
      context.fault(
        path,
        `can never apply: rules[${earlier}] takes all of its mail`,
        'put it before that one, or remove one of the two',
      );
    }
  });
  checkClients(settings, context);
  checkDenied(settings, context);
}

function checkNamed(rule: Rule, path: Path, settings: SoundSettings, { fault, wasGiven }: Context): void {
  for (const [key, group] of [
    ['listener', 'listeners'],
    ['user', 'users'],
  ] as const) {
    const wanted = rule[key];
    const names = settings[group]?.map((entry) => entry?.name) ?? (wasGiven([group]) ? undefined : []);
    // A name that could not be read may be the one that is meant.
    if (wanted === undefined || names === undefined || names.includes(undefined) || names.includes(wanted)) continue;
    const near = suggest(
      wanted,
      names.flatMap((name) => name ?? []),
    );
    fault(
      [...path, key],
      `is the name of none of ${group}`,
      near === undefined
        ? `${group} has ${count(names.length)}`
        : `did you mean that of ${group}[${names.indexOf(near)}]?`,
    );
  }
  const at = settings.listeners?.find((listener) => listener?.name !== undefined && listener.name === rule.listener);
  if (rule.user !== undefined && at?.auth === 'none') {
    fault([...path, 'user'], 'can never apply: nobody logs in at that listener, whose auth is none');
  }
}

function checkRoute({ route }: Rule, path: Path, settings: SoundSettings, { fault, wasGiven }: Context): void {
  const names = settings.routes?.map((one) => one?.name) ?? (wasGiven(['routes']) ? undefined : []);
  if (route === undefined || route === DEFAULT_ROUTE || names === undefined) return;
  if (names.includes(undefined) || names.includes(route)) return;
  const near = suggest(route, [DEFAULT_ROUTE, ...names.flatMap((name) => name ?? [])]);
  const meant = near === DEFAULT_ROUTE ? near : `that of routes[${names.indexOf(near)}]`;
  fault(
    [...path, 'route'],
    'is the name of none of routes',
    near === undefined ? `there is ${DEFAULT_ROUTE}; routes has ${count(names.length)}` : `did you mean ${meant}?`,
  );
}

function count(entries: number): string {
  return entries === 0
    ? 'no entry'
    : `${entries} ${entries === 1 ? 'entry, of another name' : 'entries, of other names'}`;
}

function checkDisplayName({ header, name }: Rule, path: Path, { fault }: Context): void {
  if (name === undefined || header === undefined || header === 'rewrite') return;
  fault([...path, 'name'], `is given, but header is ${header}`, 'set header: rewrite, or remove the name');
}

/** Whether every message that the later one matches is matched by the earlier one. */
function takesAll(earlier: Rule, later: Rule): boolean {
  return (
    includes(earlier.from, later.from) &&
    includes(earlier.envelope, later.envelope) &&
    (earlier.listener === undefined || earlier.listener === later.listener) &&
    (earlier.user === undefined || earlier.user === later.user) &&
    (earlier.networks === undefined ||
      (later.networks?.every((network) => network !== undefined && holds(network, earlier.networks)) ?? false))
  );
}

function holds(network: string, networks: readonly (string | undefined)[] = []): boolean {
  return networks.some((one) => one !== undefined && covers(one, network));
}

/**
 * Whether the first pattern has all addresses of the second; without a pattern, all. An asterisk of the second is a
 * character that only an asterisk of the first matches.
 */
function includes(outer: string | undefined, inner: string | undefined): boolean {
  if (outer === undefined || outer === '*') return true;
  if (inner === undefined) return false;
  return matcher([outer])(inner.startsWith('@') ? `*${inner}` : inner);
}

/** The first entry that has the address applies. */
function checkClients({ clients = [] }: SoundSettings, { fault }: Context): void {
  clients.forEach((entry, index) => {
    entry?.networks?.forEach((network, at) => {
      if (network === undefined) return;
      const path = ['clients', index, 'networks', at];
      for (const [before, other] of clients.slice(0, index).entries()) {
        const outer = other?.networks?.findIndex((one) => one !== undefined && covers(one, network)) ?? -1;
        if (outer < 0) continue;
        fault(
          path,
          `can never apply: it is part of clients[${before}].networks[${outer}]`,
          'put the narrower network first, or remove it',
        );
        return;
      }
    });
  });
}

function checkDenied({ recipients }: SoundSettings, { fault }: Context): void {
  const allowed = recipients?.allow?.flatMap((pattern) => pattern ?? []) ?? [];
  recipients?.deny?.forEach((pattern, index) => {
    if (pattern === undefined) return;
    const nothing = allowed.findIndex((one) => includes(pattern, one));
    if (nothing >= 0) {
      fault(
        ['recipients', 'deny', index],
        `denies all that allow[${nothing}] allows`,
        'remove one of the two, or deny less',
      );
    }
  });
}
