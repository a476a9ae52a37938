/**
 * The control of the delivery benches: posts COUNT bodies of OCTETS to the stub, PARALLEL at a time, and does nothing
 * else; with `base64` it encodes the octets first, as any EWS client has to. Prints one JSON line.
 */
import { Agent, request } from 'node:http';

const [port, parallel, count, octets] = process.argv.slice(2, 6).map(Number);
if (port === undefined || parallel === undefined || count === undefined || octets === undefined)
  throw new Error('usage: post.ts PORT PARALLEL COUNT OCTETS [base64]');
const encode = process.argv[6] === 'base64';
const agent = new Agent({ keepAlive: true, maxSockets: parallel });
const chunk = Buffer.alloc(Math.min(octets, 196_608), 'x');

function post(): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = octets ?? 0;
    const length = encode ? Math.ceil(left / 3) * 4 : left;
    const sent = request(
      {
        agent,
        host: '127.0.0.1',
        port,
        method: 'POST',
        path: '/EWS/Exchange.asmx',
        headers: { 'content-length': length },
      },
      (answer) => {
        answer.resume();
        answer.on('end', resolve);
      },
    );
    sent.on('error', reject);
    const push = (): void => {
      while (left > 0) {
        const piece = chunk.subarray(0, Math.min(left, chunk.length));
        left -= piece.length;
        if (!sent.write(encode ? Buffer.from(piece.toString('base64'), 'latin1') : piece)) {
          sent.once('drain', push);
          return;
        }
      }
      sent.end();
    };
    push();
  });
}

let begun = 0;
async function worker(): Promise<void> {
  while (begun < (count ?? 0)) {
    begun++;
    await post();
  }
}

const cpu = process.cpuUsage();
const started = performance.now();
await Promise.all(Array.from({ length: parallel }, worker));
const seconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage(cpu);
process.stdout.write(`${JSON.stringify({ rate: count / seconds, cpu: (user + system) / 1e6 })}\n`);
agent.destroy();
