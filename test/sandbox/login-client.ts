/**
 * The gateway's logins with NTLM and Basic at a server written by others (login-server.py, on Debian's GSS-NTLMSSP and
 * Werkzeug). Needs python3-gssapi, gss-ntlmssp and python3-werkzeug for /usr/bin/python3. Prints a line for each claim;
 * exit code 1 if one does not hold.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { accountAuthorizer } from '../../src/exchange/account.ts';
import { createHttp } from '../../src/exchange/http.ts';
import type { WindowsAccount } from '../../src/exchange/ntlm.ts';
import { createCertificate } from '../../src/sandbox/certificate.ts';
import { folder } from '../gateway/process.ts';

const RIGHT: WindowsAccount = { domain: 'CONTOSO', username: 'svc', password: 'pässwörd € 1' };
const place = folder();
const certificate = await createCertificate();
const certFile = place.write('cert.pem', certificate.cert);
const keyFile = place.write('key.pem', certificate.key);
const users = place.write('users', `${RIGHT.domain}:${RIGHT.username}:${RIGHT.password}\nOTHER:fax:x\n`);

interface Line {
  readonly port?: number;
  readonly login?: 'accepted' | 'refused';
  readonly user?: string;
  readonly request?: string;
  readonly connection?: number;
  readonly octets?: number;
}

let wrong = 0;
function claim(what: string, holds: boolean, seen: unknown): void {
  if (!holds) wrong++;
  process.stdout.write(`${holds ? 'ok   ' : 'WRONG'} ${what}${holds ? '' : `: ${JSON.stringify(seen)}`}\n`);
}

/** A server, and the gateway's way in to it. */
async function at(
  bindings: 'none' | 'right' | 'wrong',
  login: 'ntlm' | 'basic',
  account: WindowsAccount,
  use: (
    ask: (octets: number) => Promise<string>,
    told: { readonly logins: () => readonly Line[]; readonly requests: () => readonly Line[] },
  ) => Promise<void>,
): Promise<void> {
  const server = spawn('/usr/bin/python3', ['test/sandbox/login-server.py', certFile, keyFile, bindings], {
    env: { ...process.env, NTLM_USER_FILE: users },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: Line[] = [];
  const reader = createInterface({ input: server.stdout });
  reader.on('line', (line) => lines.push(JSON.parse(line) as Line));
  await Promise.race([
    once(reader, 'line'),
    once(server, 'exit').then(() => Promise.reject(new Error('the server has not started'))),
  ]);
  const url = `https://127.0.0.1:${lines[0]?.port}/EWS/Exchange.asmx`;
  const http = createHttp({ ca: certificate.ca });
  const authorizer = accountAuthorizer({ http, url, userAgent: 'test', login, account });
  const ask = async (octets: number): Promise<string> => {
    const body = Buffer.alloc(octets, 'soap ');
    const make = () => ({ method: 'POST', url, headers: {}, body });
    const answer = await authorizer.send(make, AbortSignal.timeout(20_000));
    if (!answer.ok) return answer.cause;
    const text = await answer.response.text(1_000);
    return text === createHash('sha256').update(body).digest('hex') ? String(answer.response.status) : text;
  };
  try {
    await use(ask, {
      logins: () => lines.filter((line) => line.login !== undefined),
      requests: () => lines.filter((line) => line.request === 'POST'),
    });
  } finally {
    await http.close();
    server.kill();
    await once(server, 'exit');
  }
}

/** What the server tells may come after its answers. */
const TOLD = 300;

async function several(ask: (octets: number) => Promise<string>): Promise<readonly string[]> {
  const answers = await Promise.all([300_000, 1, 70_000, 0, 5].map((octets) => ask(octets)));
  await new Promise((wake) => setTimeout(wake, TOLD));
  return answers;
}

for (const bindings of ['none', 'right'] as const) {
  await at(bindings, 'ntlm', RIGHT, async (ask, { logins, requests }) => {
    const name = `NTLM, channel bindings ${bindings === 'none' ? 'not asked for' : 'demanded'}`;
    const first = await several(ask);
    claim(`${name}: mail is taken`, first.join() === '200,200,200,200,200', first);
    const made = logins().length;
    const second = await several(ask);
    claim(`${name}: connections are used again`, second.join() === first.join() && logins().length === made, logins());
    claim(
      `${name}: each login is of its connection, and carries no mail`,
      made <= 5 && logins().every(({ login, octets }) => login === 'accepted' && octets === 0),
      logins(),
    );
    const loggedIn = new Set(logins().map(({ connection }) => connection));
    claim(
      `${name}: mail goes only where a login was taken`,
      requests().every(({ connection }) => loggedIn.has(connection)),
      requests(),
    );
  });
}

await at('wrong', 'ntlm', RIGHT, async (ask, { requests }) => {
  const answer = await several(ask);
  claim('NTLM, channel bindings of another certificate: refused, no mail sent', requests().length === 0, answer);
});

for (const login of ['ntlm', 'basic'] as const) {
  await at('none', login, { ...RIGHT, password: 'wrong' }, async (ask, { logins, requests }) => {
    const answers = await several(ask);
    claim(
      `${login}, wrong password: refused once for all, no mail sent`,
      new Set(answers).size === 1 && !answers.includes('200') && logins().length === 1 && requests().length === 0,
      [answers, logins()],
    );
  });
}

await at('none', 'basic', RIGHT, async (ask) => {
  const answers = await several(ask);
  claim('Basic: mail is taken', answers.join() === '200,200,200,200,200', answers);
});

place.remove();
process.exitCode = wrong === 0 ? 0 : 1;
