/**
 * The operator's command where the mail is in a database: through the gateway of this machine, past one that runs
 * elsewhere, and with none at all.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandFault } from '../../src/commands/outcome.ts';
import { queueCommand } from '../../src/commands/queue.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { freePort, PostgresServer, withoutPostgres } from '../spool/postgres-server.ts';
import { GatewayCluster, post } from './cluster.ts';
import { CommandProcess } from './command-process.ts';
import { configText } from './config-text.ts';
import type { GatewayProcess } from './process.ts';

const SENDING = 'notifications@contoso.com';
const BOB = 'bob@contoso.com';
/** The beginning of the one that the database asks for. */
const PASSWORD = /not(?:\/|%2F)a/;

describe.skipIf(withoutPostgres() !== undefined)('the queue in a database', () => {
  let server: PostgresServer;
  let sandbox: Sandbox;
  let cluster: GatewayCluster;
  let url: string;
  /** Of a machine where no gateway runs. */
  let here: string;

  beforeAll(async () => {
    [server, sandbox] = await Promise.all([
      PostgresServer.start({ login: 'password' }),
      startSandbox({ mailboxes: [{ address: SENDING }, { address: BOB }] }),
    ]);
  });
  afterAll(async () => {
    await Promise.all([server.close(), sandbox.close()]);
  });
  beforeEach(async () => {
    url = await server.freshUrl();
    cluster = new GatewayCluster({
      sandbox,
      url,
      more: 'bounces: { send: false }\nretry: { intervals: [1s], verifyAfter: 1s }',
    });
    here = config('here');
  });
  afterEach(async () => {
    sandbox.clearFaults();
    await cluster.close();
  });

  function config(name: string, place = url, secret = '${SECRET}'): string {
    const folder = join(cluster.place.path, name);
    mkdirSync(folder, { recursive: true });
    const spool = `spool: { postgres: "${place}", folder: ${folder} }`;
    const text = configText({ sandbox, caFile: join(cluster.place.path, 'ca.pem'), more: spool });
    return cluster.configFile(name, text.replace('${SECRET}', secret));
  }

  async function queue(
    file: string,
    ...words: readonly string[]
  ): Promise<{ code: number; out: string; errors: string }> {
    const out: string[] = [];
    const errors: string[] = [];
    const { values, positionals } = parseArgs({
      args: [...words, '--config', file],
      options: queueCommand.options,
      allowPositionals: true,
    });
    const terminal = {
      print: (line: string) => void out.push(line),
      complain: (line: string) => void errors.push(line),
      write: async (octets: Uint8Array) => void out.push(Buffer.from(octets).toString()),
      progress: () => undefined,
      stop: new AbortController().signal,
      onReload: () => undefined,
    };
    const code = await queueCommand.run(values, terminal, positionals).catch((error: unknown) => {
      if (!(error instanceof CommandFault)) throw error;
      errors.push(error.message);
      return error.exitCode;
    });
    const text = [...out, ...errors].join('\n');
    expect(text).not.toMatch(PASSWORD);
    return { code, out: out.join('\n').trim(), errors: errors.join('\n') };
  }

  function refuse(): void {
    sandbox.fault({ when: { operation: 'CreateItem' }, does: { responseCode: 'ErrorInvalidRecipients' } });
  }

  /** @returns the id of a message that Exchange has refused */
  async function parked(gateway: GatewayProcess): Promise<string> {
    await post(await gateway.ready(), { from: SENDING, to: BOB, id: '<one@test>' });
    return String((await gateway.event('item.parked'))['id']);
  }

  async function relayed(gateway: GatewayProcess, id: string): Promise<void> {
    await gateway.line((line) => line.event === 'delivery.relayed' && line['id'] === id, 10);
  }

  const members = async (): Promise<unknown> =>
    (await server.sql('SELECT count(*)::int AS n FROM smtp2exchange.member', new URL(url).pathname.slice(1)))[0];

  it('is asked through the gateway of this machine, without knowing the database', async () => {
    const gateway = cluster.start('one');
    refuse();
    const id = await parked(gateway);
    sandbox.clearFaults();
    const unread = config('one', '${DATABASE_URL}');
    const words = ['queue', 'list', '--json', '--config', unread];
    const list = await new CommandProcess(words, cluster.place.path).ended;
    expect(list).toMatchObject({ code: 0, errors: '' });
    expect(JSON.parse(list.out)).toMatchObject([{ id, state: 'parked' }]);
    expect(await queue(unread, 'release', id)).toMatchObject({ code: 0, out: `1 item released: ${id}`, errors: '' });
    await relayed(gateway, id);
    await gateway.stop();
    expect(await queue(unread, 'list')).toMatchObject({
      code: 78,
      errors: expect.stringMatching(
        /spool\.postgres: the environment variable DATABASE_URL is not set\nNo gateway/,
      ) as string,
    });
  });

  it('is asked past a gateway elsewhere, which is told and sends', async () => {
    const gateway = cluster.start('one');
    refuse();
    const id = await parked(gateway);
    sandbox.clearFaults();
    const words = ['queue', 'show', id, '--json', '--config', here];
    expect(JSON.parse((await new CommandProcess(words, cluster.place.path).ended).out)).toMatchObject({
      id,
      state: 'parked',
    });
    expect(await members()).toEqual({ n: 1 });
    expect(await queue(here, 'retry', id)).toMatchObject({ code: 0, out: `1 item to be tried at once: ${id}` });
    await relayed(gateway, id);
    expect(await queue(here, 'list', '--state', 'relayed', '--json')).toMatchObject({ code: 0, errors: '' });
    expect(await queue(here, 'check')).toMatchObject({ code: 0, errors: '' });
    expect(gateway.lines.filter(({ event }) => event === 'bug' || event === 'spool.takenOver')).toEqual([]);
  });

  it('is asked while no gateway runs anywhere, and the next one sends', async () => {
    const gateway = cluster.start('one');
    refuse();
    const id = await parked(gateway);
    sandbox.clearFaults();
    await gateway.stop();
    expect(await queue(here, 'release', id)).toMatchObject({
      code: 0,
      out: `1 item released: ${id}. No gateway runs: it is sent when one is started`,
    });
    const next = cluster.start('two');
    await relayed(next, id);
  });

  it('is known to `check`, with the gateway that is at work on it here', async () => {
    await cluster.start('one').ready();
    const check = async (name: string): Promise<string> => {
      const words = ['check', '--config', config(name, url, sandbox.clientSecret)];
      const { out } = await new CommandProcess(words, cluster.place.path).ended;
      return out;
    };
    const [ours, elsewhere] = await Promise.all([check('one'), check('here')]);
    expect(ours).toMatch(/^ok +data folder +postgresql:\/\/gateway@\S+: our own gateway runs/m);
    expect(elsewhere).toMatch(/^ok +data folder +postgresql:\/\/gateway@\S+: no gateway of this folder has it open/m);
    for (const out of [ours, elsewhere]) {
      expect(out).toMatch(/^ok +database +127\.0\.0\.1:\d+: of format \d+/m);
      expect(out).not.toMatch(PASSWORD);
    }
  });

  it('is none yet before a gateway has run', async () => {
    expect(await queue(here, 'list')).toMatchObject({
      code: 75,
      errors: expect.stringMatching(/no spool in it: no gateway/) as string,
    });
  });

  it('cannot be asked while the database is down, and says where it would be', async () => {
    const down = config('down', server.url('mail', { ports: [await freePort()] }));
    expect(await queue(down, 'list')).toMatchObject({
      code: 75,
      errors: expect.stringMatching(
        /The database postgresql:\/\/gateway@127\.0\.0\.1:\d+\/mail refuses connections/,
      ) as string,
    });
  });
});
