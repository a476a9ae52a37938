/**
 * What a sandbox is reached by, as the file that `sandbox --write-settings` writes and `setup --sandbox` reads: JSON. It
 * holds the sandbox's secret, which opens nothing but the sandbox. Throws CommandFault for a file that is none.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { CommandFault, EXIT } from './outcome.ts';

export interface SandboxSettings {
  readonly tenantId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly ewsUrl: string;
  readonly graphUrl: string;
  readonly authority: string;
  /** Absolute path. */
  readonly caFile: string;
  /** A mailbox that sends. */
  readonly mailbox: string;
  readonly smtp: { readonly host: string; readonly port: number };
  /** Who logs in where it plays Exchange on its own servers. */
  readonly account: { readonly username: string; readonly password: string };
}

export function settingsOf(sandbox: Sandbox, caFile: string, mailbox: string): SandboxSettings {
  const { tenantId, clientId, clientSecret, ewsUrl, graphUrl, authority, smtp } = sandbox;
  const [login] = sandbox.accounts.accounts;
  return {
    tenantId,
    clientId,
    clientSecret,
    ewsUrl,
    graphUrl,
    authority,
    caFile,
    mailbox,
    smtp: { host: '127.0.0.1', port: smtp.port },
    account: { username: `${login?.domain ?? ''}\\${login?.username ?? ''}`, password: login?.password ?? '' },
  };
}

export async function writeSandboxSettings(file: string, settings: SandboxSettings): Promise<void> {
  try {
    await writeFile(file, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandFault(EXIT.configuration, `--write-settings: ${file} cannot be written: ${why}`, { cause: error });
  }
}

const TEXTS = ['tenantId', 'clientId', 'clientSecret', 'ewsUrl', 'graphUrl', 'authority', 'caFile', 'mailbox'] as const;

export async function readSandboxSettings(file: string): Promise<SandboxSettings> {
  let read: unknown;
  try {
    read = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    const why = error instanceof SyntaxError ? 'it is no JSON' : error instanceof Error ? error.message : String(error);
    throw new CommandFault(
      EXIT.usage,
      `--sandbox: ${file} cannot be read (${why}). It is what sandbox --write-settings writes`,
    );
  }
  const { smtp, account, ...texts } = (
    typeof read === 'object' && read !== null ? read : {}
  ) as Partial<SandboxSettings>;
  const isWhole =
    TEXTS.every((name) => typeof texts[name] === 'string') &&
    typeof smtp?.host === 'string' &&
    typeof smtp.port === 'number' &&
    typeof account?.username === 'string' &&
    typeof account.password === 'string';
  if (!isWhole) throw new CommandFault(EXIT.usage, `--sandbox: ${file} is not what sandbox --write-settings writes`);
  return read as SandboxSettings;
}
