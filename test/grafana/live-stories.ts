/**
 * What goes wrong with a gateway, and is mended again: for every alert the state it is for. Each story has a gateway of its
 * own, which is well when the story begins.
 */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { FAX, mail } from '../gateway/pickup-site.ts';
import { root } from '../gateway/process.ts';
import { LegacyServer } from './legacy-server.ts';
import { Disk, SlowDisk } from './live-disk-stories.ts';
import { login, PBX } from './live-site.ts';
import type { Site, SiteOptions } from './live-site.ts';
import type { Story, Told } from './story.ts';
import { run } from './story.ts';

const inDays = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);

/** Exchange and Entra ID cannot be reached. What waits in the mailbox meanwhile is handed over late. */
const outage: Story = {
  site: { name: 'outage' },
  also: ['TokenFailing', 'PickupLate', 'UnknownOutcomes'],
  async tell({ site, fires, clear }) {
    await site.sandbox.stop();
    await fires(70, 'RouteHeld', 'PickupDown', 'QueueOld');
    await site.sandbox.start();
    site.hangUp();
    await clear(70, 'RouteHeld', 'PickupDown', 'QueueOld');
  },
};

/** EWS is closed to the application; then Exchange throttles the mailbox. */
const refused: Story = {
  site: { name: 'refused' },
  also: ['PickupDown', 'PickupLate', 'QueueOld', 'AlarmStands'],
  async tell({ site, fires, clear }) {
    site.sandbox.openEws(false);
    await fires(30, 'Misconfigured');
    site.sandbox.openEws(true);
    site.hangUp();
    await clear(60, 'Misconfigured', 'PickupDown');
    const does = { responseCode: 'ErrorServerBusy', backOffMilliseconds: 3_000 };
    site.sandbox.fault({ when: { operation: 'CreateItem' }, does });
    await fires(90, 'Throttled');
    site.sandbox.clearFaults();
    await clear(60, 'Throttled');
  },
};

/** The client secret has expired: the token in hand runs out. */
const secret: Story = {
  site: { name: 'secret' },
  also: ['Down', 'PickupDown', 'PickupLate', 'QueueOld', 'AlarmStands'],
  async tell({ site, fires, clear }) {
    site.sandbox.identity.faults.push({ aadsts: 7000222, times: 1_000_000 });
    await fires(70, 'TokenFailing', 'TokenExpiring', 'Misconfigured');
    site.sandbox.identity.faults.clear();
    // As the runbook says: a start makes it try at once.
    await site.down();
    await site.up();
    await clear(60, 'TokenFailing', 'TokenExpiring', 'Misconfigured');
  },
};

/** Secret and certificate are about to end; the new certificate does not work at first. */
const ending: Story = {
  site: { name: 'ending', exchange: `  expires: ${inDays(90)}` },
  // It is started anew.
  // A reload finds the certificate that cannot be used too, and is refused.
  also: ['Down', 'PickupLate', 'ConfigRefused'],
  async tell({ site, fires, clear }) {
    site.options = { ...site.options, exchange: `  expires: ${inDays(5)}` };
    await site.down();
    await site.certify(5);
    await site.up();
    await fires(90, 'CredentialExpiring', 'CertificateExpiring', 'AlarmStands');
    site.replace('cert.pem', 'no certificate\n');
    site.hangUp();
    await fires(30, 'CertificateFailing');
    await site.certify(90);
    site.hangUp();
    await clear(40, 'CertificateExpiring', 'CertificateFailing');
    site.options = { ...site.options, exchange: `  expires: ${inDays(90)}` };
    await site.down();
    await site.up();
    await clear(40, 'CredentialExpiring', 'AlarmStands');
  },
};

/** Somebody guesses passwords, and tries whom mail can be sent to. */
const strangers: Story = {
  site: { name: 'strangers' },
  also: [],
  async tell({ site, fires, clear }) {
    const guess = async (): Promise<void> => {
      for (let n = 0; n < 45; n++) {
        const smtp = await site.smtp('submission').catch(() => undefined);
        await smtp?.say(`AUTH PLAIN ${login('a guess')}\r\n`, '535').catch(() => undefined);
        smtp?.end();
      }
    };
    const probe = async (): Promise<void> => {
      const smtp = await site.smtp();
      await smtp.say('MAIL FROM:<notifications@contoso.com>\r\n', '250');
      for (let n = 0; n < 200; n++) await smtp.say(`RCPT TO:<${n}@denied.test>\r\n`, '550');
      smtp.end();
    };
    await Promise.all([guess(), probe(), fires(40, 'LoginsFailing', 'LoginsBanned', 'Refusals')]);
    await clear(60, 'LoginsFailing', 'LoginsBanned', 'Refusals');
  },
};

/** Nobody reads the log; then nobody listens to the sign of life. */
class Deafness implements Story {
  readonly also = ['Refusals'];
  #server: Server | undefined;
  #port = 0;
  readonly site: SiteOptions;

  private constructor(site: SiteOptions) {
    this.site = site;
  }

  static async prepare(): Promise<Story> {
    const story = new Deafness({ name: 'deafness', more: '' });
    await story.#listen();
    const url = `http://127.0.0.1:${story.#port}/`;
    Object.assign(story.site, { more: `alarms: { heartbeat: { url: '${url}', every: 1s } }\nlog: { level: debug }` });
    return story;
  }

  async tell({ site, fires, clear }: Told): Promise<void> {
    await this.#close();
    await fires(40, 'AlarmsFailing');
    await this.#listen();
    await clear(40, 'AlarmsFailing');
    const { stdout } = site.gateway.child;
    stdout?.pause();
    await this.#flood(site);
    // What was lost is told, and counted, when there is room again.
    stdout?.resume();
    await fires(40, 'LogDropped');
    await clear(60, 'LogDropped');
  }

  async end(): Promise<void> {
    await this.#close();
  }

  /** More lines than the gateway keeps for a slow reader. */
  async #flood(site: Site): Promise<void> {
    const address = `${'x'.repeat(60)}@denied.test`;
    for (let session = 0; session < 40; session++) {
      const smtp = await site.smtp();
      await smtp.say('MAIL FROM:<notifications@contoso.com>\r\n', '250');
      for (let n = 0; n < 900; n += 100) {
        await smtp.write(`RCPT TO:<${address}>\r\n`.repeat(100));
        for (let reply = 0; reply < 100; reply++) await smtp.reply();
      }
      smtp.end();
    }
  }

  async #listen(): Promise<void> {
    this.#server = createServer((_, response) => void response.end()).listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async #close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.closeAllConnections();
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }
}

/** Exchange refuses messages for good, and answers of others get lost; an operator sees to what was parked. */
const given: Story = {
  site: { name: 'given-up', bounces: false, more: 'alarms: { repeat: 4s }' },
  also: [],
  async tell({ site, fires, clear }) {
    const when = { operation: 'CreateItem', count: 2 };
    site.sandbox.fault({ when, does: { responseCode: 'ErrorInvalidRecipients' } });
    site.sandbox.fault({ when, does: { cut: 'afterActing' } });
    await fires(40, 'MailParked', 'UnknownOutcomes');
    await clear(90, 'MailParked', 'UnknownOutcomes');
    await fires(90, 'AlarmStands');
    run(process.execPath, join(root, 'src/main.ts'), 'queue', 'retry', '--all-parked', '--config', site.configFile);
    await clear(60, 'AlarmStands');
  },
};

/** The legacy system is down; then mail comes that nobody can hand over. */
class HandOver implements Story {
  // It is started anew at the end.
  readonly also = ['Down'];
  readonly #server: LegacyServer;
  readonly site: SiteOptions;

  private constructor(server: LegacyServer) {
    this.#server = server;
    const deliver = `{ smtp: { host: 127.0.0.1, port: ${server.port}, tls: none, to: fax@legacy.test } }`;
    this.site = {
      name: 'hand-over',
      receives: [PBX],
      pickups: `  - { mailbox: ${PBX}, name: pbx, interval: 1s, deliver: ${deliver} }`,
    };
  }

  static async prepare(): Promise<Story> {
    const server = new LegacyServer();
    await server.up();
    return new HandOver(server);
  }

  async tell({ site, fires, clear }: Told): Promise<void> {
    await this.#server.down();
    await fires(60, 'RouteHeld', 'QueueOld');
    await this.#server.up();
    await fires(60, 'PickupLate');
    await clear(60, 'RouteHeld', 'QueueOld', 'PickupLate');
    await site.sandbox.receive(FAX, { mime: mail({ id: 'strange' }), itemClass: 'IPM.Post' });
    await fires(40, 'PickupQuarantined');
    await clear(40, 'PickupQuarantined');
    await fires(90, 'AlarmStands');
    // Nothing tells the gateway that somebody has seen to it.
    await site.down();
    await site.up();
    await clear(40, 'AlarmStands');
  }

  async end(): Promise<void> {
    await this.#server.down();
  }
}

/** What goes wrong every day, and is no alert: told to senders, refused by rule, done anew. */
const daily: Story = {
  site: {
    name: 'daily',
    retry: ', warnAfter: 1s',
    receives: [PBX],
    pickups: `  - mailbox: ${PBX}
    name: pbx
    interval: 1s
    deliver: { command: { run: ['true'] } }
    from: { deny: [spam@contoso.com] }
    answer: { success: true }`,
  },
  also: [],
  async tell({ site }) {
    const { sandbox } = site;
    const when = { operation: 'CreateItem', mailbox: 'notifications@contoso.com' };
    sandbox.fault({ when: { ...when, count: 1 }, does: { responseCode: 'ErrorInvalidRecipients' } });
    sandbox.fault({ when: { ...when, count: 8 }, does: { responseCode: 'ErrorInternalServerTransientError' } });
    const does = { responseCode: 'ErrorInvalidSyncStateData' };
    sandbox.fault({ when: { operation: 'SyncFolderItems', mailbox: PBX, count: 1 }, does });
    await sandbox.receive(PBX, { mime: mail({ id: 'spam', from: 'spam@contoso.com', to: PBX }) });
    const header = 'Content-Type: text/calendar; method=REQUEST\r\n';
    await sandbox.receive(PBX, { mime: mail({ id: 'meeting', to: PBX, header }) });
    await pause(20_000);
  },
};

/** The configuration is changed to what cannot be used, then corrected. */
const misspelt: Story = {
  site: { name: 'misspelt' },
  also: [],
  async tell({ site, fires, clear }) {
    const right = readFileSync(site.configFile, 'utf8');
    site.replace('config.yaml', `${right}\nlisteneers: []\n`);
    site.hangUp();
    await fires(40, 'ConfigRefused');
    site.replace('config.yaml', right);
    site.hangUp();
    await clear(40, 'ConfigRefused');
  },
};

/** The server ends its notifications again and again. */
const deaf: Story = {
  // Thirty minutes, which a stream lasts at most, are half a second: one that ended in due course is followed by another at once.
  site: { name: 'deaf', sandbox: { streaming: { minute: 20 } } },
  also: [],
  async tell({ site, fires, clear }) {
    const state = { isOver: false };
    // Every second one ends well: otherwise it is asked for more and more seldom, which takes hours.
    const until = async (is: () => boolean): Promise<void> => {
      while (!is() && !state.isOver) await pause(50);
    };
    const losing = (async () => {
      while (!state.isOver) {
        await until(() => site.sandbox.streams() > 0);
        site.sandbox.loseSubscriptions();
        await until(() => site.sandbox.streams() === 0);
        await until(() => site.sandbox.streams() > 0);
        await until(() => site.sandbox.streams() === 0);
      }
    })();
    await fires(90, 'PickupDeaf').finally(() => (state.isOver = true));
    await losing;
    await clear(120, 'PickupDeaf');
  },
};

/** A request is never answered, and no time-out has seen it yet. */
const stale: Story = {
  site: { name: 'stale' },
  also: ['PickupLate', 'PickupDown'],
  async tell({ site, fires, clear }) {
    site.sandbox.fault({ when: { operation: 'SyncFolderItems' }, does: { silent: 'beforeActing' } });
    await fires(100, 'PickupStale');
    site.sandbox.clearFaults();
    await site.sandbox.stop();
    await site.sandbox.start();
    await clear(60, 'PickupStale');
  },
};

/** A mistake in the program; then it ends by itself again and again, and at last for good. */
const unstable: Story = {
  site: { name: 'unstable', node: ['--import', join(import.meta.dirname, 'planted-mistake.ts')] },
  also: ['PickupLate'],
  async tell({ site, fires, clear }) {
    site.gateway.child.kill('SIGUSR2');
    await fires(40, 'Bug');
    site.gateway.child.kill('SIGUSR2');
    await clear(60, 'Bug');
    for (let n = 0; n < 6; n++) {
      await site.down('SIGKILL');
      await site.up();
      await pause(1_500);
    }
    await fires(20, 'Restarting');
    await site.down();
    await fires(30, 'Down');
    await site.up();
    await clear(60, 'Down', 'Restarting');
  },
};

export async function stories(): Promise<readonly Story[]> {
  return [
    outage,
    refused,
    secret,
    ending,
    strangers,
    await Deafness.prepare(),
    given,
    new Disk(),
    new SlowDisk(),
    await HandOver.prepare(),
    daily,
    misspelt,
    deaf,
    stale,
    unstable,
  ];
}
