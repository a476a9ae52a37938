/** `sandbox`: a small Entra ID and Exchange on loopback, to try a configuration against. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Sandbox } from '../sandbox/sandbox.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import type { Command } from './command.ts';
import { port } from './numbers.ts';
import type { Terminal } from './outcome.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { settingsOf, writeSandboxSettings } from './sandbox-settings.ts';

/** Who has a mailbox in the sandbox. */
export const PEOPLE = {
  sender: 'notifications@contoso.com',
  alice: 'alice@contoso.com',
  bob: 'bob@contoso.com',
  carol: 'carol@contoso.com',
} as const;

/** The mailbox that is picked up from, in the demo. */
export const FAX = 'fax@contoso.com';

export const sandboxCommand: Command = {
  name: 'sandbox',
  usage: 'sandbox [--port N] [--ca-file FILE] [--write-settings FILE]',
  summary: 'the sandbox alone: a small Entra ID and Exchange on loopback',
  options: {
    port: { type: 'string', default: '8443' },
    'ca-file': { type: 'string', default: 'sandbox-ca.pem' },
    'write-settings': { type: 'string' },
  },
  async run(values, terminal) {
    const sandbox = await openSandbox(port(values['port']));
    try {
      const caFile = resolve(String(values['ca-file']));
      await saveCertificate(caFile, sandbox.ca);
      describe(sandbox, caFile, terminal);
      const settingsFile = values['write-settings'];
      if (typeof settingsFile === 'string') {
        await writeSandboxSettings(settingsFile, settingsOf(sandbox, caFile, PEOPLE.sender));
        terminal.print(`Its settings, for setup --sandbox: ${settingsFile}`);
      }
      if (!terminal.stop.aborted) await once(terminal.stop, 'abort');
    } finally {
      await sandbox.close();
    }
    return EXIT.done;
  },
};

/** @param listenOn Exchange's port; Entra ID takes the next one. 0: any two that are free */
export async function openSandbox(listenOn: number): Promise<Sandbox> {
  if (listenOn === 65_535)
    throw new CommandFault(EXIT.usage, 'The sandbox needs --port and the one after it: 65534 is the last that goes');
  try {
    const mailboxes = [...Object.values(PEOPLE), FAX].map((address) => ({ address }));
    return await startSandbox({ port: listenOn, mailboxes });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      const taken = 'port' in error ? Number(error.port) : listenOn;
      throw new CommandFault(
        EXIT.temporary,
        `Port ${taken} is in use: the sandbox needs ${listenOn} and ${listenOn + 1}, give it others with --port`,
        { cause: error },
      );
    }
    throw error;
  }
}

export async function saveCertificate(file: string, pem: string): Promise<void> {
  try {
    await writeFile(file, pem);
  } catch (error) {
    throw new CommandFault(
      EXIT.configuration,
      `The sandbox's CA certificate cannot be written to ${file}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

const NOBODY = { domain: '', username: '', password: '' };

function describe(sandbox: Sandbox, caFile: string, terminal: Terminal): void {
  const [{ domain, username, password } = NOBODY] = sandbox.accounts.accounts;
  const account = `${domain}\\${username}`;
  terminal.print(`This is a sandbox, no real Exchange. It keeps everything in memory and listens on loopback only.

For config.yaml:
senders:
  mailbox: ${PEOPLE.sender}
exchange:
  tenantId: ${sandbox.tenantId}
  clientId: ${sandbox.clientId}
  clientSecret: ${sandbox.clientSecret}
  ewsUrl: ${sandbox.ewsUrl}
  graphUrl: ${sandbox.graphUrl}   # with transport: graph
  authority: ${sandbox.authority}
  caFile: ${caFile}

SMTP submission: 127.0.0.1:${sandbox.smtp.port} (transport: smtp, smtp: { host: 127.0.0.1, port: ${sandbox.smtp.port} })
Or as Exchange on its own servers, with NTLM or Basic:
exchange:
  cloud: onPremises
  username: ${account}
  password: ${password}
  ewsUrl: ${sandbox.ewsUrl}
  caFile: ${caFile}

Mailboxes: ${[...Object.values(PEOPLE), FAX].join(', ')}
What arrived: curl --cacert ${caFile} ${sandbox.origin}/control/arrived
Mail from outside: curl --cacert ${caFile} --data-binary @mail.eml ${sandbox.origin}/control/mailboxes/${PEOPLE.alice}/receive
All it can do: curl --cacert ${caFile} ${sandbox.origin}/control
Ctrl-C ends it.`);
}
