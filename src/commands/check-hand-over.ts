/**
 * What `check` finds out about the system that a pickup hands over to, as far as that is possible without a mail: nothing
 * is submitted, posted or run. Never rejects for what it meets.
 */
import { randomUUID } from 'node:crypto';
import type { Config, DeliverConfig, PickupConfig } from '../config/config.ts';
import { codeOf, describe } from '../exchange/failure.ts';
import { troubleOf } from '../legacy/folder-answers.ts';
import { unreachable } from '../mail/status.ts';
import { reachServer } from './check-server.ts';
import type { Finding, Judged } from './finding.ts';
import { PATIENCE } from './finding.ts';
import { findProgram, reachFolder, reachHost } from './reach.ts';

/** Milliseconds. */
const CONNECT = 10_000;

type HandedOver = Pick<PickupConfig, 'name' | 'setting' | 'deliver'>;
type Around = Pick<Config, 'hostname' | 'pop3'>;
type Of<Kind extends DeliverConfig['kind']> = Extract<DeliverConfig, { readonly kind: Kind }>;

export async function checkHandOver(pickup: HandedOver, config: Around, stop: AbortSignal): Promise<Finding> {
  const { name, deliver } = pickup;
  const signal = AbortSignal.any([stop, AbortSignal.timeout(PATIENCE)]);
  return { what: 'hand-over', pickup: name, transport: deliver.kind, ...(await judged(pickup, config, signal)) };
}

async function judged({ deliver, setting }: HandedOver, config: Around, signal: AbortSignal): Promise<Judged> {
  switch (deliver.kind) {
    case 'smtp': {
      const { mark, says } = await reachServer(deliver.server, deliver.ca, config.hostname, signal);
      return { mark, says };
    }
    case 'folder':
      return await judgedFolder(deliver);
    case 'webhook':
      return await judgedWebhook(deliver, signal);
    case 'command':
      return await judgedProgram(deliver, `${setting}.deliver.command.run`);
    case 'pop3': {
      const door = config.pop3 === undefined ? 'the section pop3' : `${config.pop3.address}:${config.pop3.port}`;
      return { mark: 'ok', says: `clients fetch it at ${door}` };
    }
    default:
      return unreachable(deliver);
  }
}

async function judgedFolder({ path }: Of<'folder'>): Promise<Judged> {
  try {
    // Consumers leave such names alone.
    const isThere = await reachFolder(path, `.tmp-check-${randomUUID()}`);
    const says = isThere
      ? `${path}: a file was written and removed`
      : `${path}: not there yet; made with the first mail`;
    return { mark: 'ok', says };
  } catch (error) {
    const trouble = troubleOf(error, path);
    if (trouble === undefined) throw error;
    return { mark: 'fail', says: trouble.reason ?? trouble.text };
  }
}

async function judgedWebhook({ url, ca }: Of<'webhook'>, signal: AbortSignal): Promise<Judged> {
  // Its path may be a secret.
  const address = new URL(url.reveal());
  const { host, protocol } = address;
  try {
    await reachHost(address, ca, AbortSignal.any([signal, AbortSignal.timeout(CONNECT)]));
    return { mark: 'ok', says: `${host} takes ${protocol === 'https:' ? 'TLS ' : ''}connections; no request was sent` };
  } catch (error) {
    return { mark: 'fail', says: describe(error, 'connect', host).message };
  }
}

async function judgedProgram({ command, environment }: Of<'command'>, setting: string): Promise<Judged> {
  const [program = ''] = command;
  try {
    return { mark: 'ok', says: `${await findProgram(program, environment)} may be run; it was not` };
  } catch (error) {
    const code = codeOf(error);
    const told =
      code === 'ENOENT'
        ? `is not there; correct ${setting}, or install it`
        : code === 'EACCES'
          ? 'may not be run by this user; chmod +x it, and let its folders be searched'
          : `cannot be run; correct ${setting}`;
    return { mark: 'fail', says: `${program} ${told} (${code})` };
  }
}
