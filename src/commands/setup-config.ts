/** The config.yaml that `setup` writes: what was answered, with comments, and nothing else. Pure; never fails. */
import { covers, network } from '../config/network.ts';
import type { Answers, HostPort } from './setup-answers.ts';

export function configText(answers: Answers): string {
  return [head(answers), listeners(answers), senders(answers), exchange(answers), pickups(answers), place(answers)]
    .filter((part) => part !== '')
    .join('\n\n')
    .concat('\n');
}

const PLAIN = /^[A-Za-z0-9_/.][\w@.+/\\-]*(?:: ?(?=\/\/)[\w@.+/:-]+)?$/;
const OTHER_THAN_TEXT = /^[\d._]+$|^(?:true|false|null|yes|no|on|off|y|n)$/i;

/** A string as YAML has it, in quotes where it needs them. */
export function yaml(text: string): string {
  return PLAIN.test(text) && !OTHER_THAN_TEXT.test(text) ? text : inQuotes(text);
}

/** `${` begins a reference to the environment, and is written as `$${`. */
function inQuotes(text: string): string {
  return JSON.stringify(text.replaceAll('${', () => '$${'));
}

function list(texts: readonly string[]): string {
  return `[${texts.map(inQuotes).join(', ')}]`;
}

function head({ sandbox }: Answers): string {
  const what = sandbox === undefined ? '' : '# For the sandbox, no real Exchange.\n';
  return `# Configuration of smtp2exchange, written by setup.
${what}# Every setting there is, with its default: docs/configuration.md. After a change: npm start -- check`;
}

function listeners({ listen, allow }: Answers): string {
  const hasThis = allow.some((one) => {
    const read = network(one);
    return read.ok && covers(read.value, '127.0.0.1/32');
  });
  return `# Where devices and applications bring their mail.
listeners:
  - name: lan # in logs and metrics
    address: ${JSON.stringify(listen.address)} # 127.0.0.1: this machine only; 0.0.0.0: reached from the network
    port: ${listen.port}
    tls: optional # STARTTLS for those that can; a certificate is made, unless you name one here
    allow: ${list(hasThis ? allow : [...allow, '127.0.0.0/8'])} # networks that may send without login; this machine for \`send\``;
}

function senders({ mailboxes: [first = '', ...more] }: Answers): string {
  const rules = more.map((address) => `    - { from: ${inQuotes(address)}, mailbox: ${inQuotes(address)} }`);
  const others =
    rules.length > 0
      ? ['  rules: # mail whose From is one of these is sent by that mailbox', ...rules]
      : [
          '  #rules: # other mailboxes, by From, login or address of the client',
          '  #  - { from: "*@pbx.local", mailbox: pbx@contoso.com }',
        ];
  return [
    '# The mailbox that sends.',
    'senders:',
    `  mailbox: ${yaml(first)}`,
    '  header: rewrite # another From becomes the mailbox, and goes to Reply-To; keep: needs Send As at Exchange',
    ...others,
  ].join('\n');
}

function exchange(answers: Answers): string {
  const { cloud, transport, sandbox, tenantId, clientId, credential, secretFile, account, ewsUrl } = answers;
  const lines = ['# The account at Exchange. What has to be done there: the .md file beside this one.', 'exchange:'];
  if (cloud !== 'worldwide') lines.push(`  cloud: ${cloud}`);
  if (cloud === 'onPremises') {
    lines.push(
      `  ewsUrl: ${yaml(ewsUrl ?? '')}`,
      `  username: ${inQuotes(account.username)}`,
      `  passwordFile: ${yaml(secretFile)} # one line, the password`,
      `  login: ${account.login} # ntlm | basic`,
    );
    if (sandbox !== undefined) lines.push(`  caFile: ${yaml(sandbox.caFile)}`);
    return lines.join('\n');
  }
  lines.push(
    `  tenantId: ${tenantId === undefined ? '<Directory (tenant) ID>' : yaml(tenantId)}`,
    `  clientId: ${clientId === undefined ? '<Application (client) ID>' : yaml(clientId)}`,
  );
  if (credential === 'secret') {
    lines.push(
      `  clientSecretFile: ${yaml(secretFile)} # one line, the Value of the client secret`,
      ...(sandbox === undefined ? ['  #expires: 2028-11-30 # when it ends, for an alarm before'] : []),
    );
  } else {
    lines.push(
      '  certificate: # its public half is uploaded to the app registration',
      '    certFile: exchange/cert.pem',
      '    keyFile: exchange/key.pem',
    );
  }
  lines.push(`  transport: ${transport} # ${WAYS[transport]}`);
  if (transport === 'smtp' && sandbox !== undefined)
    lines.push(`  smtp: { host: ${sandbox.smtp.host}, port: ${sandbox.smtp.port} }`);
  if (sandbox !== undefined) {
    lines.push(
      `  ewsUrl: ${yaml(sandbox.ewsUrl)}`,
      `  graphUrl: ${yaml(sandbox.graphUrl)}`,
      `  authority: ${yaml(sandbox.authority)}`,
      `  caFile: ${yaml(sandbox.caFile)}`,
    );
  }
  return lines.join('\n');
}

const WAYS = {
  auto: 'Exchange Web Services while they are open to this app, then Microsoft Graph by itself',
  ews: 'Exchange Web Services; Exchange Online ends them on 1 April 2027',
  graph: 'Microsoft Graph',
  smtp: 'SMTP submission with OAuth',
} as const;

function pickups({ pickups: all, deliver }: Answers): string {
  if (all.length === 0) return '';
  const entries = all.map((mailbox) =>
    [
      `  - mailbox: ${yaml(mailbox)}`,
      '    from: { inside: true } # only who has logged in to the organisation; false: anybody on the Internet',
      '    deliver:',
      ...(deliver === undefined ? intoFolder(mailbox) : toServer(mailbox, deliver)),
    ].join('\n'),
  );
  return `# Mailboxes whose mail is handed to a legacy system. What was taken goes to the folder Processed.
pickup:
${entries.join('\n')}
    #recipients: # who gets it there, by subject or address: docs/configuration.md
    #  - { in: plus, to: $0@fax.local } # in fax+4930123@contoso.com the 4930123`;
}

function intoFolder(mailbox: string): readonly string[] {
  const path = `pickup/${mailbox.replace(/[^\w.@+-]/g, '_')}`;
  return ['      folder:', `        path: ${yaml(path)} # one .eml file for each mail`];
}

function toServer(mailbox: string, { host, port }: HostPort): readonly string[] {
  return [
    '      smtp:',
    `        host: ${JSON.stringify(host)}`,
    `        port: ${port}`,
    `        to: ${yaml(mailbox)} # gets what recipients finds nobody for`,
  ];
}

/** Relative to the configuration. */
export const CONSOLE_TOKEN = 'console/token';

/** Pages for other machines need a certificate, which is not there yet. */
export function hasConsole({ address }: Answers['watch']): boolean {
  return address === '::1' || address.startsWith('127.');
}

function place({ watch }: Answers): string {
  return `# Mail waits here, on disk, until it is delivered. For several gateways on one queue: postgres (docs/scaling.md).
spool:
  sqlite: data/spool.db

# The operator's pages, metrics and health checks.
console:
  address: ${JSON.stringify(watch.address)}
  port: ${watch.port}
${
  hasConsole(watch)
    ? `  tokenFile: ${CONSOLE_TOKEN} # what is in it logs in`
    : `  #tokenFile: ${CONSOLE_TOKEN} # turns the pages on; from other machines they need a certificate: docs/console.md`
}`;
}
