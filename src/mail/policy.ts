/**
 * Who may do what: asked when a client connects, before MAIL, at MAIL and RCPT, and once the header has come. The lists
 * that apply to a client are those of the whole gateway, of its listener, and of its user, or else of its network; an
 * address has to be in every one of them, and in no list of denied ones. Every refusal names the list that said no.
 * Pure. Fails only for a caller's mistake: TypeError for a pattern or network that is none, Error for an unknown listener.
 */
import { isSendable } from './address.ts';
import type { Mailbox } from './addresses.ts';
import type { ReversePath } from './envelope.ts';
import type { Refusal } from './event.ts';
import { networkList } from './network.ts';
import { matcher } from './pattern.ts';

export interface Client {
  readonly listener: string;
  /** IP address. */
  readonly peer: string;
  /** Who logged in. */
  readonly user?: string;
  readonly tls: boolean;
}

/** A refusal in SMTP's words. */
export interface Reply {
  readonly refusal: Refusal;
  readonly code: number;
  /** RFC 3463. */
  readonly enhanced: string;
  /** Names the rule that said no, for an administrator. Printable ASCII, at most some 400 characters. */
  readonly text: string;
  /** For the log only. */
  readonly detail?: string;
}

/** Lists hold patterns (see pattern.ts) and networks (see network.ts). A list that is absent allows everything, an empty one nothing. */
export interface PolicyRules {
  readonly listeners: readonly {
    readonly name: string;
    readonly auth: 'none' | 'optional' | 'required';
    readonly allow: readonly string[];
    /** May connect too, but must log in. */
    readonly loginFrom: readonly string[];
    readonly senders?: readonly string[];
    readonly recipients?: readonly string[];
  }[];
  readonly users: readonly {
    readonly name: string;
    readonly senders?: readonly string[];
    readonly recipients?: readonly string[];
  }[];
  /** The first entry whose networks hold the client applies, to what no list of its user decides. */
  readonly clients: readonly {
    readonly networks: readonly string[];
    readonly senders?: readonly string[];
    readonly recipients?: readonly string[];
  }[];
  readonly senders: { readonly allow: readonly string[] };
  readonly recipients: { readonly allow: readonly string[]; readonly deny: readonly string[] };
}

export interface Policy {
  connect(client: Client): Reply | undefined;
  /** To be asked before MAIL; the answer is then 530 5.7.0. */
  needsLogin(client: Client): boolean;
  /** The null reverse-path is always allowed here. */
  mail(client: Client, reversePath: ReversePath): Reply | undefined;
  recipient(client: Client, address: string): Reply | undefined;
  /**
   * Every From, Sender, Resent-From and Resent-Sender must be allowed: each says who sends, to some reader. An address
   * that cannot be read is so only where all are. A display name that is an address, all of it, must be allowed too: it
   * is what many readers show instead.
   * @param header `resent`: of Resent-From and Resent-Sender
   */
  header(
    client: Client,
    header: {
      readonly from: readonly Mailbox[];
      readonly sender: readonly Mailbox[];
      readonly resent?: readonly Mailbox[];
    },
  ): Reply | undefined;
}

export function createPolicy(rules: PolicyRules): Policy {
  const listeners = new Map(
    rules.listeners.map((listener) => [
      listener.name,
      {
        isAllowed: networkList(listener.allow),
        mayLogIn: networkList(listener.loginFrom),
        needsLogin: listener.auth === 'required',
        ...listsOf(listener, `of listener "${listener.name}"`),
      },
    ]),
  );
  const users = new Map(rules.users.map((user) => [user.name, listsOf(user, `of user "${user.name}"`)]));
  const clients = rules.clients.map((entry, index) => ({
    holds: networkList(entry.networks),
    ...listsOf(entry, `of clients[${index}] (${entry.networks.join(', ')})`),
  }));
  const ofAll = {
    senders: listOf('senders.allow', rules.senders.allow),
    recipients: listOf('recipients.allow', rules.recipients.allow),
  };
  const denies = rules.recipients.deny.length > 0;
  const isDenied = matcher(rules.recipients.deny);

  const listenerOf = ({ listener }: Client): NonNullable<ReturnType<typeof listeners.get>> => {
    const found = listeners.get(listener);
    if (found === undefined) throw new Error(`no listener ${JSON.stringify(listener)}`);
    return found;
  };

  const listsFor = (kind: 'senders' | 'recipients', client: Client): List[] => {
    const ofUser = client.user === undefined ? undefined : users.get(client.user)?.[kind];
    const own = ofUser ?? clients.find(({ holds }) => holds(client.peer))?.[kind];
    return [ofAll[kind], listenerOf(client)[kind], own].filter((list) => list !== undefined);
  };

  return {
    connect(client) {
      const { isAllowed, mayLogIn } = listenerOf(client);
      if (isAllowed(client.peer) || mayLogIn(client.peer)) return undefined;
      return {
        refusal: 'address',
        code: 554,
        enhanced: '5.7.1',
        text: sentence(
          `${shown(client.peer)} may not use this server: it is not in "allow" of listener "${client.listener}"`,
        ),
      };
    },

    needsLogin(client) {
      const { isAllowed, needsLogin } = listenerOf(client);
      return client.user === undefined && (needsLogin || !isAllowed(client.peer));
    },

    mail(client, reversePath) {
      if (reversePath === '') return undefined;
      const list = missing(listsFor('senders', client), reversePath);
      return list && refused('sender', `Sender ${shown(reversePath)}`, `it is not in ${list.name}`);
    },

    recipient(client, address) {
      const what = `Recipient ${shown(address)}`;
      if (isDenied(address)) return refused('recipient', what, 'it is in recipients.deny');
      if (denies && !isSendable(address)) {
        return refused('recipient', what, 'it cannot be compared with recipients.deny');
      }
      const list = missing(listsFor('recipients', client), address);
      return list && refused('recipient', what, `it is not in ${list.name}`);
    },

    header(client, { from, sender, resent = [] }) {
      const lists = listsFor('senders', client);
      for (const [field, mailboxes] of [
        ['From', from] as const,
        ['Sender', sender] as const,
        ['Resent-From or -Sender', resent] as const,
      ]) {
        for (const { name, address } of mailboxes) {
          const list = missing(lists, address);
          if (list !== undefined) {
            return address === ''
              ? refused('sender', `A ${field} of the header that is no address`, `it is not in ${list.name}`, name)
              : refused('sender', `${field} ${shown(address)} of the header`, `it is not in ${list.name}`);
          }
          const claimed = claimedAddress(name);
          const other = claimed === undefined ? undefined : missing(lists, claimed);
          if (claimed !== undefined && other !== undefined) {
            const what = `${field} ${shown(address)} of the header under the name ${shown(claimed)}`;
            return refused('sender', what, `that address is not in ${other.name}`);
          }
        }
      }
      return undefined;
    },
  };
}

interface List {
  readonly name: string;
  holds(address: string): boolean;
}

interface Lists {
  readonly senders: List | undefined;
  readonly recipients: List | undefined;
}

function listsOf(
  { senders, recipients }: { readonly senders?: readonly string[]; readonly recipients?: readonly string[] },
  whose: string,
): Lists {
  return {
    senders: senders && listOf(`senders ${whose}`, senders),
    recipients: recipients && listOf(`recipients ${whose}`, recipients),
  };
}

/** The first list that does not hold the address. */
function missing(lists: readonly List[], address: string): List | undefined {
  return lists.find((list) => !list.holds(address));
}

/** What cannot be read as an address may be read as another one elsewhere: only `*` holds it. */
function listOf(name: string, patterns: readonly string[]): List {
  const matches = matcher(patterns);
  const holdsAll = patterns.includes('*');
  return { name, holds: (address) => holdsAll || (isSendable(address) && matches(address)) };
}

/** The address a display name consists of, as in `"ceo@contoso.com" <fax@contoso.com>`, quotes and brackets aside. */
function claimedAddress(name: string): string | undefined {
  if (name.length > 400) return undefined;
  const bare = name.replace(/^[\s'"<([]+|[\s'">)\]]+$/g, '');
  return isSendable(bare) ? bare : undefined;
}

function refused(refusal: 'sender' | 'recipient', what: string, why: string, detail?: string): Reply {
  return {
    refusal,
    code: 550,
    enhanced: '5.7.1',
    text: sentence(`${what} is not allowed: ${why}`),
    ...(detail !== undefined && { detail }),
  };
}

/** A client's text within a reply: on one line, in printable ASCII, of bounded length (RFC 5321 section 4.5.3.1.5). */
export function shown(text: string): string {
  return printable(text === '' ? '<>' : text, 120);
}

/** A reply line is 512 octets at most, codes and line end included. */
export function sentence(text: string): string {
  return printable(text, 400);
}

function printable(text: string, limit: number): string {
  const cut = text.length > limit ? `${text.slice(0, limit - 3)}...` : text;
  return cut.replace(/[^ -~]/g, '?');
}
