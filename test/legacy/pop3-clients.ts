/**
 * Real clients fetch from the POP3 door: in the clear, by STLS, and with TLS from the first octet. Each fetches all messages
 * and leaves them, comes again and (where it remembers UIDLs) fetches none, then fetches and deletes them. What it writes
 * must be the message to the octet (of fetchmail, which edits headers, the body); what is left must be nothing.
 * Usage: pop3-clients.ts [CLIENT...]; without names all of them, each of which has to be installed. Prints a line a client
 * and way; exit code 1 if one fails.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pop3Door } from '../../src/legacy/pop3.ts';
import type { Event } from '../../src/mail/event.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import { loginGuard } from '../../src/smtp/limits.ts';
import { hashPassword, passwordCheck } from '../../src/smtp/password.ts';
import { MemoryMaildrop } from './maildrop.ts';
import { OPTIONS } from './pop3-door.ts';

const execute = promisify(execFile);
const USER = 'fax';
const PASSWORD = 'correct horse 1';

const header = (subject: string): string => `From: a@contoso.com\r\nTo: fax@contoso.com\r\nSubject: ${subject}\r\n`;
const pages = Buffer.from(Array.from({ length: 1_500_000 }, (_, n) => (n * 7 + (n >> 8)) & 0xff))
  .toString('base64')
  .replace(/.{76}/g, '$&\r\n');
/** As they are stored. */
const MESSAGES: Readonly<Record<string, Buffer>> = {
  'uidl-0001': Buffer.from(`${header('dots')}\r\n.\r\n..\r\n.x\r\n\r\n.\r\nend\r\n`),
  'uidl-0002': Buffer.from(`${header('bare line ends').replaceAll('\r\n', '\n')}\n.one\ntwo\n.`),
  'uidl-0003': Buffer.from(`${header('8 bit')}\r\nGr\xfc\xdfe\r\n`, 'latin1'),
  'uidl-0004': Buffer.from(
    `${header('two megabytes')}MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n${pages}\r\n`,
  ),
};
/** Of each message, with LF as mail has it on Unix. */
const CONTENT = Object.values(MESSAGES).map((octets) => {
  const text = octets.toString('latin1').replaceAll('\r\n', '\n');
  return text.endsWith('\n') ? text : `${text}\n`;
});

const place = mkdtempSync(join(tmpdir(), 'pop3-clients-'));
let files = 0;
const folder = (): string => {
  const path = join(place, `folder-${++files}`);
  mkdirSync(path);
  return path;
};
const write = (name: string, text: string, mode = 0o600): string => {
  const path = join(place, `${++files}-${name}`);
  writeFileSync(path, text, { mode });
  return path;
};

const certificate = await createCertificate();
const trusted = write('ca.pem', certificate.ca);
const users = new Map([[USER, await hashPassword(PASSWORD)]]);

interface Way {
  readonly name: 'clear' | 'STLS' | 'TLS';
  readonly port: number;
}

const maildrop = new MemoryMaildrop();
const events: Event[] = [];
const inUse = new Set<string>();
const doors: ReturnType<typeof pop3Door>[] = [];

async function open(name: Way['name'], tls: 'none' | 'required' | 'implicit'): Promise<Way> {
  const door = pop3Door(
    { ...OPTIONS, name, tls, certificate: { current: () => certificate, onChange: () => undefined } },
    {
      maildrops: new Map([[USER, maildrop]]),
      isPassword: passwordCheck(users, Date.now),
      logins: loginGuard({ failures: 5, within: 600_000, ban: 900_000, delay: 0 }),
      report: (event) => events.push(event),
      inUse,
    },
  );
  await door.start();
  doors.push(door);
  const opened = events.find((event) => event.event === 'listener.open' && event.listener === name);
  return { name, port: opened?.event === 'listener.open' ? opened.port : 0 };
}

/** @param codes exit codes that are as good as 0 */
async function run(program: string, args: readonly string[], codes: readonly number[] = []): Promise<Buffer> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: place, FETCHMAILHOME: place, LC_ALL: 'C.UTF-8' };
  try {
    const { stdout } = await execute(program, [...args], {
      timeout: 60_000,
      maxBuffer: 2 ** 26,
      encoding: 'buffer',
      env,
    });
    return stdout;
  } catch (error) {
    const { code, stderr, stdout } = error as { code?: unknown; stderr?: Buffer; stdout?: Buffer };
    if (code === 'ENOENT') throw new Error(`${program} is not installed: apt-get install ${program}`, { cause: error });
    if (typeof code === 'number' && codes.includes(code)) return stdout ?? Buffer.alloc(0);
    throw new Error(`${program} ended with ${String(code)}: ${String(stdout)}${String(stderr)}`, { cause: error });
  }
}

function same(got: readonly string[], wanted: readonly string[], what: string): void {
  const [one, other] = [got.toSorted(), wanted.toSorted()];
  if (one.length !== other.length) throw new Error(`${what}: ${one.length} messages instead of ${other.length}`);
  const at = one.findIndex((text, place) => text !== other[place]);
  if (at >= 0)
    throw new Error(
      `${what}: ${JSON.stringify(one[at]?.slice(0, 300))} instead of ${JSON.stringify(other[at]?.slice(0, 300))}`,
    );
}

const inFolder = (path: string): string[] => readdirSync(path).map((name) => readFileSync(join(path, name), 'latin1'));
const body = (text: string): string => text.slice(text.indexOf('\n\n'));

const PYTHON = `
import poplib, ssl, sys, json
port, way, ca, user, password = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
def login():
    box = poplib.POP3_SSL('localhost', int(port), context=context) if way == 'TLS' else poplib.POP3('localhost', int(port))
    if way == 'STLS': box.stls(context)
    box.user(user); box.pass_(password)
    return box
box = login()
capabilities = box.capa()
count, size = box.stat()
sizes = [int(line.split()[1]) for line in box.list()[1]]
ids = [line.split()[1].decode() for line in box.uidl()[1]]
assert count == len(sizes) == len(ids) and sum(sizes) == size, (count, size, sizes, ids)
mails = []
for at in range(count):
    lines = box.retr(at + 1)[1]
    # RFC 1939 section 11: as sent, without the dots that were doubled.
    assert sum(len(line) + 2 for line in lines) == sizes[at], (at, sizes[at])
    top = box.top(at + 1, 1)[1]
    assert top == lines[:lines.index(b'') + 2], top
    mails.append('\\n'.join(line.decode('latin1') for line in lines) + '\\n')
    box.dele(at + 1)
box.rset()
assert box.stat() == (count, size)
try:
    other = login()
    raise AssertionError('two sessions')
except poplib.error_proto as error:
    assert b'[IN-USE]' in error.args[0], error
for at in range(count): box.dele(at + 1)
# Without QUIT.
box.close()
box = login()
assert box.stat() == (count, size)
for at in range(count): box.dele(at + 1)
box.quit()
print(json.dumps({'ids': ids, 'mails': mails, 'capabilities': sorted(capabilities)}))
`;

const clients: Readonly<Record<string, (way: Way) => Promise<void>>> = {
  async curl({ name, port }) {
    const url = `${name === 'TLS' ? 'pop3s' : 'pop3'}://localhost:${port}/`;
    const common = [
      '-sS',
      '--cacert',
      trusted,
      '--user',
      `${USER}:${PASSWORD}`,
      ...(name === 'STLS' ? ['--ssl-reqd'] : []),
    ];
    const list = String(await run('curl', [...common, '--request', 'UIDL', url]));
    if (
      list !==
      Object.keys(MESSAGES)
        .map((id, at) => `${at + 1} ${id}\r\n`)
        .join('')
    )
      throw new Error(`UIDL gave ${list}`);
    const mails: string[] = [];
    for (const number of CONTENT.keys())
      mails.push((await run('curl', [...common, `${url}${number + 1}`])).toString('latin1'));
    same(
      mails,
      CONTENT.map((text) => text.replaceAll('\n', '\r\n')),
      'RETR',
    );
    for (const _ of CONTENT) await run('curl', [...common, '--head', '--request', 'DELE 1', url]);
  },
  async python3({ name, port }) {
    const said = await run('python3', ['-c', PYTHON, String(port), name, trusted, USER, PASSWORD]);
    const { ids, mails } = JSON.parse(String(said)) as { ids: string[]; mails: string[] };
    same(ids, Object.keys(MESSAGES), 'UIDL');
    same(mails, CONTENT, 'RETR');
  },
  async mpop({ name, port }) {
    const uidls = join(place, `mpop-uidls-${++files}`);
    const fetch = async (keep: 'on' | 'off', wanted: readonly string[]): Promise<void> => {
      const path = folder();
      for (const sub of ['cur', 'new', 'tmp']) mkdirSync(join(path, sub));
      const tls = ['--tls=on', `--tls-starttls=${name === 'STLS' ? 'on' : 'off'}`, `--tls-trust-file=${trusted}`];
      await run('mpop', [
        '--file=/dev/null',
        '--quiet',
        '--host=localhost',
        `--port=${port}`,
        `--user=${USER}`,
        `--passwordeval=echo ${PASSWORD}`,
        `--delivery=maildir,${path}`,
        `--uidls-file=${uidls}`,
        '--received-header=off',
        `--keep=${keep}`,
        ...(name === 'clear' ? ['--tls=off', '--auth=user'] : tls),
      ]);
      same(inFolder(join(path, 'new')), wanted, `keep ${keep}`);
    };
    await fetch('on', CONTENT);
    await fetch('on', []);
    await fetch('off', []);
  },
  async fetchmail({ name, port }) {
    const ids = join(place, `fetchids-${++files}`);
    const fetch = async (options: string, wanted: readonly string[]): Promise<void> => {
      const path = folder();
      const mda = write('mda', `#!/bin/sh\nexec cat > "$(mktemp ${path}/mail-XXXXXX)"\n`, 0o700);
      const rc = write(
        'fetchmailrc',
        [
          `set idfile "${ids}"`,
          'set no bouncemail',
          'set invisible',
          `poll localhost protocol POP3 port ${port} uidl`,
          `user "${USER}" password "${PASSWORD}" is root here`,
          name === 'TLS' ? 'ssl' : name === 'STLS' ? 'sslproto "TLS1.2+"' : 'sslproto ""',
          ...(name === 'clear' ? [] : [`sslcertck sslcertfile "${trusted}"`]),
          `no rewrite mda "${mda}" ${options}`,
          '',
        ].join('\n'),
      );
      // 1: there was nothing new.
      await run(
        'fetchmail',
        ['--fetchmailrc', rc, '--silent', '--nosyslog', '--nodetach', '--pidfile', `${rc}.pid`],
        wanted.length === 0 ? [1] : [],
      );
      same(inFolder(path).map(body), wanted.map(body), options);
    };
    await fetch('keep', CONTENT);
    await fetch('keep', []);
    await fetch('fetchall nokeep', CONTENT);
  },
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !Object.hasOwn(clients, name));
if (unknown.length > 0) throw new Error(`unknown client ${unknown.join(', ')}: ${Object.keys(clients).join(', ')}`);
let failed = 0;
try {
  const ways = [await open('clear', 'none'), await open('STLS', 'required'), await open('TLS', 'implicit')];
  for (const [client, fetch] of Object.entries(clients)) {
    if (chosen.length > 0 && !chosen.includes(client)) continue;
    for (const way of ways) {
      for (const [id, octets] of Object.entries(MESSAGES)) maildrop.messages.set(id, octets);
      events.splice(0);
      let verdict = 'ok';
      try {
        await fetch(way);
        if (maildrop.messages.size > 0) throw new Error(`left: ${[...maildrop.messages.keys()].join(', ')}`);
        const bug = events.find((event) => event.event === 'bug');
        if (bug?.event === 'bug') throw bug.error;
      } catch (error) {
        failed++;
        verdict = `FAILED: ${error instanceof Error ? error.message : String(error)}`;
      }
      process.stdout.write(`${client.padEnd(12)}${way.name.padEnd(8)}${verdict}\n`);
    }
  }
} finally {
  await Promise.all(doors.map((door) => door.stop(AbortSignal.abort())));
  rmSync(place, { recursive: true, force: true });
}
process.exitCode = failed === 0 ? 0 : 1;
