/**
 * The site that the devices stand in: one gateway process in front of the sandbox, with a listener for each set of settings
 * that a script asks for. Its rules are what an administrator would write: addresses of the organisation stay, what
 * comes from a name that exists on a device only is sent from the mailbox, with the old sender in Reply-To.
 */
import { generate } from 'selfsigned';
import type { Arrival, Sandbox } from '../../src/sandbox/sandbox.ts';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import type { Folder, LogLine } from '../gateway/process.ts';
import { folder, GatewayProcess } from '../gateway/process.ts';
import { SECRET_HASH } from '../smtp/listener.ts';
import type { Outcome } from './golden.ts';

const MAILBOX = 'notifications@contoso.com';
/** Addresses of the organisation that the mailbox may send as. */
const SEND_AS = [
  'alerts', 'cuc', 'erp', 'fax', 'helpdesk', 'mfp', 'payroll', 'printer', 'root', 'scanner', 'scan', 'shop', 'ups', 'web',
].map((local) => `${local}@contoso.com`); // prettier-ignore
const PEOPLE = ['alice', 'bob', 'carol', 'dave', 'faxmaster', 'ops'].map((local) => `${local}@contoso.com`);
const VOICEMAIL = 'voicemail@contoso.com';
/** What the largest scan needs, octets. */
const LARGEST = 250_000_000;

export interface Site {
  /** @param listener its name */
  port(listener: string): number;
  /** What became of an accepted message; waits for it. */
  outcome(id: string): Promise<{ readonly outcome: Outcome; readonly envelope: readonly string[] }>;
  /** Everything that has arrived. */
  arrived(): readonly Arrival[];
  /** What the gateway said that it should never have to say. */
  trouble(): readonly string[];
  close(): Promise<void>;
}

export async function openSite(listeners: ReadonlyMap<string, Readonly<Record<string, unknown>>>): Promise<Site> {
  const place = folder();
  const sandbox = await startSandbox({
    mailboxes: [
      { address: MAILBOX, sendAs: SEND_AS, maxSendSize: LARGEST },
      ...[VOICEMAIL, ...PEOPLE].map((address) => ({ address })),
    ],
    maxRequestSize: 2 * LARGEST,
  });
  const gateway = new GatewayProcess(place.write('config.yaml', await config(place, sandbox, listeners)), {
    SECRET: sandbox.clientSecret,
  });
  const close = async (): Promise<void> => {
    await gateway.stop('SIGKILL');
    await sandbox.close();
    place.remove();
  };
  try {
    await gateway.ready();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    port: (listener) =>
      Number(gateway.lines.find((line) => line.event === 'listener.open' && line['listener'] === listener)?.['port']),
    outcome: (id) => outcome(gateway, sandbox, id),
    arrived: () => sandbox.arrived(),
    trouble: () => [
      ...gateway.noise,
      ...gateway.errors,
      ...gateway.lines
        .filter(({ event }) => event === 'bug' || event === 'delivery.failed')
        .map((line) => JSON.stringify(line)),
    ],
    close,
  };
}

async function config(
  place: Folder,
  sandbox: Sandbox,
  listeners: ReadonlyMap<string, Readonly<Record<string, unknown>>>,
): Promise<string> {
  // RSA, because old devices know nothing else.
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'gateway.test' }], {
    keySize: 2048,
    algorithm: 'sha256',
  });
  const certificate = { certFile: place.write('cert.pem', cert), keyFile: place.write('key.pem', key) };
  const entries = [...listeners].map(([name, settings]) => ({
    name,
    address: '127.0.0.1',
    port: 0,
    ...((settings['tls'] ?? 'none') === 'none' ? {} : { certificate }),
    ...settings,
  }));
  // JSON is YAML.
  return `
hostname: gateway.test
listeners: ${JSON.stringify(entries)}
users:
  - { name: mfp, passwordHash: "${SECRET_HASH}" }
  - { name: erp, passwordHash: "${SECRET_HASH}" }
senders:
  mailbox: ${MAILBOX}
  header: rewrite
  rules:
    - { envelope: "asterisk@pbx.local", mailbox: ${VOICEMAIL}, header: rewrite, name: Voicemail }
    - { from: "*@contoso.com", header: keep }
exchange:
  tenantId: ${sandbox.tenantId}
  clientId: ${sandbox.clientId}
  clientSecret: \${SECRET}
  ewsUrl: ${sandbox.ewsUrl}
  authority: ${sandbox.authority}
  caFile: ${place.write('ca.pem', sandbox.ca)}
  carryHeaders: [X-Asterisk-CallerID, X-CiscoUnity-MessageType]
pacing: { perMailbox: { concurrency: 8, perMinute: unlimited } }
spool: { sqlite: ${place.path}/spool.db }
console: { address: 127.0.0.1, port: 0 }
`;
}

async function outcome(
  gateway: GatewayProcess,
  sandbox: Sandbox,
  id: string,
): Promise<{ readonly outcome: Outcome; readonly envelope: readonly string[] }> {
  const accepted = await gateway.line((line) => line.event === 'message.accepted' && line['id'] === id);
  const [item] = strings(accepted, 'items');
  const end = await gateway.line(({ event, id }) => /^delivery\.(relayed|failed)$/.test(event) && id === item);
  if (end.event === 'delivery.failed') throw new Error(`${String(end['messageId'])}: ${String(end['reason'])}`);
  const isIts = ({ extended }: Arrival): boolean => extended.some(({ values }) => values[0] === item);
  const arrival = sandbox.arrived().find(isIts);
  if (arrival === undefined) throw new Error(`${String(end['messageId'])} was relayed and did not arrive`);
  return { outcome: { id, arrival, repairs: strings(accepted, 'repairs') }, envelope: strings(accepted, 'recipients') };
}

function strings(line: LogLine, key: string): string[] {
  const value = line[key];
  return Array.isArray(value) ? value.map(String) : [];
}
