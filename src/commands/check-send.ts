/**
 * A mail on its way: sent to the address that was asked for, by the transport that a route uses, past the queue, and looked
 * for where it should have come: in that mailbox where the application may look into it, else among what was sent. One for
 * the default mailbox, and one for each address that is sent as it is. Never rejects for what it meets.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { openWayOut } from '../assembly/way-out.ts';
import { unreachable } from '../mail/status.ts';
import type { Outgoing } from '../mail/transport.ts';
import { composeMail } from '../smtp/client.ts';
import type { Account } from './check-account.ts';
import { keptIn } from './check-send-as.ts';
import { stepOfRefusal } from './check-step.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';
import { PATIENCE } from './finding.ts';
import { version } from './version.ts';

/** Milliseconds between two looks. */
const LOOK = 1_000;
/** Mails in all: a configuration may keep many addresses. */
const MAILS = 20;

interface Errand {
  readonly account: Account;
  readonly mailbox: string;
  readonly from: string;
  readonly to: string;
}

export async function* checkSend(walk: Walk): AsyncGenerator<Finding> {
  const { config, accounts, sendTo: to } = walk;
  if (to === undefined) return;
  const first = config.routes[0]?.name ?? '';
  const { mailbox } = config.senders;
  const kept = keptIn(config).filter(({ isAddress }) => isAddress);
  for (const one of [{ from: mailbox, mailbox: mailbox.toLowerCase(), route: first }, ...kept].slice(0, MAILS)) {
    const account = accounts.find(({ route, sends, isSpare }) => route.name === one.route && sends && !isSpare);
    if (account === undefined) continue;
    const about = { ...account.about('send to'), at: `${one.from} to`, mailbox: to };
    if (account.blocked !== undefined) yield { ...about, mark: 'skip', says: `not sent: ${account.blocked}` };
    else if (account.route.exchange.shadow !== undefined)
      yield { ...about, mark: 'skip', says: 'not sent: Exchange sends nothing in shadow mode' };
    else yield { ...about, ...(await send({ ...one, account, to }, walk)) };
  }
}

async function send({ account, mailbox, from, to }: Errand, walk: Walk): Promise<Judged> {
  const { config, stop } = walk;
  const out = await openWayOut({
    ...account.taken,
    hostname: config.hostname,
    folder: config.spool.folder,
    version: version(),
    report: () => undefined,
  });
  try {
    const outgoing = await mailOf({ account, mailbox, from, to }, walk);
    const status = await out.transport.deliver(outgoing, AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]));
    switch (status.outcome) {
      case 'relayed':
        account.hasReached = true;
        return await seek(account, outgoing, to, walk);
      case 'unknown':
        return {
          mark: 'warn',
          says: `${status.cause}: whether it was sent is not known. ${status.reason ?? status.text}`,
        };
      case 'delayed':
      case 'failed': {
        const step = stepOfRefusal(account, status.cause);
        const says = `${status.cause}: ${status.reason ?? status.text}`;
        return { mark: 'fail', says, ...(step === undefined ? {} : { step }) };
      }
      default:
        return unreachable(status);
    }
  } finally {
    await out.close();
  }
}

async function seek(account: Account, { item }: Outgoing, to: string, { stop }: Walk): Promise<Judged> {
  if (account.way === 'smtp') return { mark: 'ok', says: 'the server took it; SMTP cannot be asked what became of it' };
  const { messageId, mailbox, id } = item;
  let mayLook = true;
  const until = performance.now() + PATIENCE;
  for (;;) {
    for (const folder of mayLook ? (['inbox', 'junkemail'] as const) : []) {
      const looked = await account.find(to, folder, messageId, id);
      if (looked.ok && looked.found)
        return folder === 'inbox'
          ? { mark: 'ok', says: 'sent, and found in its inbox' }
          : { mark: 'warn', says: 'sent, and found among its junk mail: let the sender be trusted there' };
      // It is somebody else's, as it should be.
      if (!looked.ok) mayLook = false;
    }
    const sent = mayLook ? undefined : await account.find(mailbox, 'sentitems', messageId, id);
    if (sent?.ok === true && sent.found)
      return {
        mark: 'ok',
        says: `sent: it is in Sent Items of ${mailbox}. The mailbox of the recipient may not be looked into`,
      };
    if (performance.now() > until || stop.aborted)
      return {
        mark: 'warn',
        says: `Exchange took it, and it was not found within ${PATIENCE / 1000} s: look for it in the message trace of Exchange (${messageId})`,
      };
    await pause(LOOK, undefined, { signal: stop }).catch(() => undefined);
  }
}

async function mailOf({ account, mailbox, from, to }: Errand, { now, config }: Walk): Promise<Outgoing> {
  const id = randomUUID();
  const messageId = `<check-${id}@${config.hostname}>`;
  const octets = await composeMail({
    from,
    to: [to],
    subject: `Test of smtp2exchange, ${new Date(now()).toISOString()}`,
    text: 'A test mail of smtp2exchange, sent by its command "check".\nIt may be deleted.\n',
    headers: { 'Message-ID': messageId, 'Auto-Submitted': 'auto-generated' },
  });
  const at = now();
  return {
    item: {
      id,
      message: id,
      state: 'sending',
      route: account.route.name,
      mailbox,
      envelope: { reversePath: from, recipients: [{ address: to }] },
      origin: { source: 'smtp', name: 'check', peer: '' },
      messageId,
      headerSize: octets.indexOf('\r\n\r\n') + 4,
      size: octets.length,
      arrivedAt: at,
      due: at,
      attempts: 1,
      doubtful: false,
    },
    async *open() {
      yield octets;
    },
  };
}
