/** The soak's Exchange and Entra ID, in a thread of its own so that their memory is not counted with the gateway's. Takes orders one at a time. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Fault } from '../src/sandbox/fault.ts';
import type { IdentityFault } from '../src/sandbox/identity.ts';
import { startSandbox } from '../src/sandbox/sandbox.ts';

export interface ServerData {
  readonly mailboxes: readonly string[];
  /** One number: the true time, epoch milliseconds. */
  readonly time: SharedArrayBuffer;
}

export type ServerOrder =
  | { readonly do: 'fault'; readonly fault: Fault }
  | { readonly do: 'identity'; readonly fault: IdentityFault }
  | { readonly do: 'behave' | 'stop' | 'start' | 'revoke' | 'arrived' | 'close' };

const { mailboxes, time } = workerData as ServerData;
const clock = new Float64Array(time);
const sandbox = await startSandbox({ mailboxes: mailboxes.map((address) => ({ address })), now: () => clock[0] ?? 0 });

async function obey(order: ServerOrder): Promise<unknown> {
  switch (order.do) {
    case 'fault':
      return sandbox.fault(order.fault);
    case 'identity':
      return sandbox.identity.faults.push(order.fault);
    case 'behave':
      sandbox.clearFaults();
      return sandbox.identity.faults.clear();
    case 'stop':
      return await sandbox.stop();
    case 'start':
      return await sandbox.start();
    case 'revoke':
      return sandbox.identity.revokeAll();
    case 'arrived':
      return sandbox.arrived().map(({ messageId }) => messageId);
    case 'close':
      return await sandbox.close();
    default:
      return order satisfies never;
  }
}

parentPort?.on('message', (order: ServerOrder) => {
  void obey(order).then((answer) => parentPort?.postMessage(answer, []));
});
const { ewsUrl, authority, clientId, clientSecret, ca } = sandbox;
parentPort?.postMessage({ ewsUrl, authority, clientId, clientSecret, ca }, []);
