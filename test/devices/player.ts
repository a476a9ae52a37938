/**
 * Plays a script against a listener, line by line. Rejects at the first reply that is not the expected one, with the
 * script's line; what came back for a message is kept.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { once } from 'node:events';
import { Session } from '../smtp/session.ts';
import { base64Lines, nameOf } from './attachment.ts';
import type { Script, Step } from './script.ts';

export interface Played {
  /** Ids of the accepted messages, in order. */
  readonly ids: readonly string[];
  /** Generated attachments, as golden files name them. */
  readonly attachments: readonly string[];
}

export async function play(script: Script, port: number): Promise<Played> {
  const player = new Player(port);
  try {
    for (const { step, line } of script.steps) {
      await player.take(step).catch((error: unknown) => {
        throw new Error(`${script.name}.dialog:${line}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      });
    }
    if (player.unread.length > 0) throw new Error(`${script.name}: not expected: ${player.unread.join(' | ')}`);
    return { ids: player.ids, attachments: player.attachments };
  } finally {
    player.end();
  }
}

/** Settings of each listener that scripts ask for, by its name (default `lan`). */
export function listenersOf(scripts: readonly Script[]): Map<string, Readonly<Record<string, unknown>>> {
  const listeners = new Map<string, Readonly<Record<string, unknown>>>();
  for (const { name, listener } of scripts) {
    const key = listenerName(listener);
    const known = listeners.get(key);
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(listener))
      throw new Error(`${name}.dialog: another script has other settings for listener ${key}`);
    listeners.set(key, listener);
  }
  return listeners;
}

export function listenerName(listener: Readonly<Record<string, unknown>>): string {
  return typeof listener['name'] === 'string' ? listener['name'] : 'lan';
}

class Player {
  readonly ids: string[] = [];
  readonly attachments: string[] = [];
  readonly #port: number;
  #session: Session | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  get unread(): readonly string[] {
    return this.#session?.unread ?? [];
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'send':
        return this.#send(await this.#open(), step.octets, step.chunk);
      case 'reply':
        return this.#reply(await (await this.#open()).reply(), step.lines);
      case 'tls': {
        const options = tlsOptions(step);
        if (this.#session === undefined) this.#session = await Session.openTls(this.#port, options);
        else await this.#session.upgrade(options);
        return;
      }
      case 'attachment': {
        const { socket } = await this.#open();
        for (const block of base64Lines(step.size, step.lineEnd)) if (!socket.write(block)) await once(socket, 'drain');
        this.attachments.push(nameOf(base64Lines(step.size)));
        return;
      }
      case 'wait':
        await pause(step.milliseconds);
        return;
      case 'closed':
        return (await this.#open()).closed();
      case 'hang-up':
        (await this.#open()).destroy();
        return;
      case 'reconnect':
        this.end();
        this.#session = undefined;
    }
  }

  end(): void {
    this.#session?.destroy();
  }

  async #open(): Promise<Session> {
    this.#session ??= await Session.open(this.#port);
    return this.#session;
  }

  async #send(session: Session, octets: Buffer, chunk: number): Promise<void> {
    if (chunk === 0) return session.write(octets);
    for (let at = 0; at < octets.length; at += chunk) {
      session.write(octets.subarray(at, at + chunk));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #reply(reply: string, expected: readonly string[]): void {
    const lines = reply.split('\n');
    const isExpected =
      lines.at(-1)?.startsWith(expected.at(-1) ?? '') === true && isWithin(expected.slice(0, -1), lines);
    if (!isExpected) throw new Error(`expected ${expected.join(' | ')}, got ${lines.join(' | ')}`);
    const id = / queued as (\S+)$/.exec(reply)?.[1];
    if (id !== undefined) this.ids.push(id);
  }
}

/** Each beginning found, in order; which line of the reply happens to be the last one says nothing. */
function isWithin(beginnings: readonly string[], lines: readonly string[]): boolean {
  let at = 0;
  for (const line of lines) {
    const wanted = beginnings[at];
    if (wanted !== undefined && `${line.slice(0, 3)}-${line.slice(4)}`.startsWith(wanted)) at++;
  }
  return at === beginnings.length;
}

function tlsOptions({ version, cipher }: { readonly version?: string; readonly cipher?: string }): ConnectionOptions {
  if (version === undefined) return {};
  return {
    minVersion: version as 'TLSv1',
    maxVersion: version as 'TLSv1',
    // OpenSSL knows the old versions at its lowest security level only.
    ciphers: `${cipher ?? 'DEFAULT'}@SECLEVEL=0`,
  };
}
