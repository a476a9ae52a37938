/**
 * Which mailbox sends a message, and under which From: the first rule that matches decides, or else the default. Rules
 * choose, they permit nothing: that is the policy's part (policy.ts). Pure. Fails only for a caller's mistake: TypeError
 * for a pattern or network that is none.
 */
import type { Mailbox } from './addresses.ts';
import type { ReversePath } from './envelope.ts';
import { networkList } from './network.ts';
import { matcher } from './pattern.ts';
import { sentence, shown } from './policy.ts';
import type { Client, Reply } from './policy.ts';
import { unreachable } from './status.ts';

/** All conditions that are given must hold; a rule without any matches everything. */
export interface SenderRule {
  /** Pattern for the first From address. */
  readonly from?: string;
  /** Pattern for the reverse-path; of all patterns only `*` matches the null reverse-path. */
  readonly envelope?: string;
  readonly listener?: string;
  readonly user?: string;
  readonly networks?: readonly string[];
  readonly mailbox: string;
  /** Name of the way out; absent: the first there is. */
  readonly route?: string;
  readonly header: 'keep' | 'rewrite' | 'reject';
  /** Display name, with `rewrite`. */
  readonly name?: string;
}

export interface SenderRules {
  readonly mailbox: string;
  /** For mail no rule matches. */
  readonly header: 'keep' | 'rewrite' | 'reject';
  readonly rules: readonly SenderRule[];
}

export type Sending = {
  readonly mailbox: string;
  /** Name of the way out; absent: the first there is. */
  readonly route?: string;
} & ({ readonly from: 'keep' } | { readonly from: 'rewrite'; readonly name?: string });

export interface SenderFacts {
  readonly client: Client;
  readonly reversePath: ReversePath;
  readonly from: readonly Mailbox[];
}

export function senderMap(rules: SenderRules): (facts: SenderFacts) => Sending | Reply {
  const ordered = rules.rules.map((rule, index) => ({
    applies: condition(rule),
    decide: decision(rule, `senders.rules[${index}]`),
  }));
  const otherwise = decision(rules, 'senders.header, as no rule of senders.rules matches');
  return (facts) => (ordered.find(({ applies }) => applies(facts))?.decide ?? otherwise)(facts);
}

function condition({ from, envelope, listener, user, networks }: SenderRule): (facts: SenderFacts) => boolean {
  const conditions: ((facts: SenderFacts) => boolean)[] = [];
  if (listener !== undefined) conditions.push(({ client }) => client.listener === listener);
  if (user !== undefined) conditions.push(({ client }) => client.user === user);
  if (networks !== undefined) {
    const holds = networkList(networks);
    conditions.push(({ client }) => holds(client.peer));
  }
  if (from !== undefined) {
    const matches = matcher([from]);
    conditions.push((facts) => matches(facts.from[0]?.address ?? ''));
  }
  if (envelope !== undefined) {
    const matches = matcher([envelope]);
    conditions.push(({ reversePath }) => matches(reversePath));
  }
  return (facts) => conditions.every((holds) => holds(facts));
}

function decision(
  { mailbox, route, header, name }: Pick<SenderRule, 'mailbox' | 'route' | 'header' | 'name'>,
  rule: string,
): (facts: SenderFacts) => Sending | Reply {
  const by = { mailbox, ...(route !== undefined && { route }) };
  switch (header) {
    case 'keep':
      return () => ({ ...by, from: 'keep' });
    case 'rewrite':
      return () => ({ ...by, from: 'rewrite', ...(name !== undefined && { name }) });
    case 'reject':
      return ({ from, reversePath }) => ({
        refusal: 'sender',
        code: 550,
        enhanced: '5.7.1',
        text: sentence(`Mail from ${shown(from[0]?.address || reversePath)} is refused by ${rule}`),
      });
    default:
      return unreachable(header);
  }
}
