/**
 * curl logs in at the sandbox's Exchange with NTLM and Basic, with right and with wrong passwords: what the sandbox says
 * must be what curl, written by others, expects. Needs curl with NTLM. Prints a line each; exit code 1 if one is wrong.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { startSandbox } from '../../src/sandbox/sandbox.ts';
import { folder } from '../gateway/process.ts';

const place = folder();
const account = { username: 'svc', domain: 'CONTOSO', password: 'pass word 1' };
const sandbox = await startSandbox({ mailboxes: [], accounts: [account] });
const caFile = place.write('ca.pem', sandbox.ca);

const LOGINS = [
  ['--ntlm', `CONTOSO\\svc:${account.password}`, '200'],
  ['--ntlm', `svc:${account.password}`, '200'],
  ['--ntlm', 'CONTOSO\\svc:wrong', '401'],
  ['--ntlm', `CONTOSO\\other:${account.password}`, '401'],
  ['--basic', `CONTOSO\\svc:${account.password}`, '200'],
  ['--basic', 'CONTOSO\\svc:wrong', '401'],
] as const;

let wrong = 0;
for (const [scheme, login, expected] of LOGINS) {
  const words = [
    '-s',
    '--cacert',
    caFile,
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    scheme,
    '-u',
    login,
    sandbox.ewsUrl,
  ];
  const { stdout } = await promisify(execFile)('curl', words);
  if (stdout !== expected) wrong++;
  process.stdout.write(`${stdout === expected ? 'ok   ' : 'WRONG'} curl ${scheme} ${login.split(':')[0]}: ${stdout}\n`);
}
await sandbox.close();
place.remove();
process.exitCode = wrong === 0 ? 0 : 1;
