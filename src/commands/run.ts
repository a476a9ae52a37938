/** `run`: the gateway, until it is asked to stop. */
import { once } from 'node:events';
import { loadConfig, renderFaults } from '../config/load.ts';
import { StartError } from '../assembly/start-error.ts';
import { startGateway } from '../gateway.ts';
import type { Gateway, GatewayOptions } from '../gateway.ts';
import type { Config } from '../config/config.ts';
import type { Command } from './command.ts';
import { CommandFault, EXIT } from './outcome.ts';
import { version } from './version.ts';

export const runCommand: Command = {
  name: 'run',
  usage: 'run [--config FILE]',
  summary: 'the gateway (this is the default; FILE defaults to config.yaml)',
  options: { config: { type: 'string', default: 'config.yaml' } },
  async run({ config: file }, { stop, onReload }) {
    const configFile = String(file);
    const config = await readConfig(configFile);
    let running: Gateway | undefined;
    // Heard before the gateway runs: then it has just read them.
    onReload(() => void running?.reload());
    const reread = () => loadConfig(configFile);
    const gateway = await start(config, { version: version(), configFile, reread });
    running = gateway;
    const asked = stop.aborted ? Promise.resolve() : once(stop, 'abort');
    const failed = await Promise.race([asked.then(() => undefined), gateway.failed]);
    await gateway.stop(failed === undefined ? String(stop.reason) : 'the spool is lost');
    // What supervises the process starts it anew, and what was accepted is there.
    if (failed !== undefined) throw new CommandFault(EXIT.temporary, failed.message, { cause: failed });
    return EXIT.done;
  },
};

export async function readConfig(file: string): Promise<Config> {
  const loaded = await loadConfig(file);
  if ('faults' in loaded) throw new CommandFault(EXIT.configuration, renderFaults(loaded.faults));
  return loaded.config;
}

export async function start(config: Config, options: GatewayOptions): Promise<Gateway> {
  try {
    return await startGateway(config, options);
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    const code = { temporary: EXIT.temporary, configuration: EXIT.configuration, failed: EXIT.failed }[error.kind];
    throw new CommandFault(code, error.message, { cause: error });
  }
}
