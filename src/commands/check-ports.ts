/**
 * The ports that the gateway listens on: free, held by our own running gateway, or by another program. Each is opened and
 * closed at once, which harms nobody who has it.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Config } from '../config/config.ts';
import { codeOf } from '../exchange/failure.ts';
import { cannotListen } from '../mail/port.ts';
import type { Walk } from './check-walk.ts';
import type { Finding, Judged } from './finding.ts';

interface Door {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

export async function* checkPorts({ config, gateway }: Walk): AsyncGenerator<Finding> {
  for (const door of doorsOf(config)) {
    const at = `${door.name} ${door.address}:${door.port}`;
    const isOurs = gateway?.listening?.some(
      ({ address, port }) => port === door.port && (address === door.address || isAny(address) || isAny(door.address)),
    );
    yield { what: 'port', at, ...(await judged(door, isOurs, gateway !== undefined)) };
  }
}

/** Of all that the machine has. */
function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function doorsOf({ listeners, console: web, pop3 }: Config): readonly Door[] {
  const { address, port } = web;
  return [...listeners, { name: 'console', address, port }, ...(pop3 === undefined ? [] : [{ ...pop3, name: 'pop3' }])];
}

async function judged(door: Door, isOurs: boolean | undefined, isRunning: boolean): Promise<Judged> {
  if (door.port === 0) return { mark: 'ok', says: 'any that is free' };
  const error = await trial(door);
  if (error === undefined)
    return { mark: 'ok', says: isRunning ? 'free: the gateway that runs does not listen there; restart it' : 'free' };
  if (codeOf(error) === 'EADDRINUSE' && isOurs === true) return { mark: 'ok', says: 'our own gateway listens there' };
  if (codeOf(error) === 'EADDRINUSE' && isRunning && isOurs === undefined)
    return { mark: 'skip', says: 'in use; our own gateway, of another version, does not say what it listens on' };
  const which =
    codeOf(error) === 'EADDRINUSE' ? `. "ss -ltnp" (as root; on Windows "netstat -ano") shows which program it is` : '';
  return { mark: 'fail', says: `${cannotListen(error, door).message}${which}` };
}

/** @returns why it cannot be opened */
async function trial({ address, port }: Door): Promise<unknown> {
  const server = createServer();
  try {
    server.listen({ host: address, port, exclusive: true });
    await once(server, 'listening');
    return undefined;
  } catch (error) {
    return error;
  } finally {
    server.close();
  }
}
