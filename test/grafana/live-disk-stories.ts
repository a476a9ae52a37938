/** Troubles with the disk of the spool, for live alerts. Linux, root: they mount file systems of their own. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { folder } from '../gateway/process.ts';
import type { SiteOptions } from './live-site.ts';
import type { Story, Told } from './story.ts';
import { run } from './story.ts';

/** The disk of the spool fills, a quota is reached; on another one nothing is written for a while. */
export class Disk implements Story {
  readonly also = ['PickupDown', 'PickupLate', 'AlarmStands', 'QueueOld', 'StatsLate'];
  readonly #place = folder();
  readonly site: SiteOptions;
  readonly #disk: string;

  constructor() {
    this.#disk = join(this.#place.path, 'disk');
    mkdirSync(this.#disk);
    run('mount', '-t', 'tmpfs', '-o', 'size=3g', 'spool', this.#disk);
    this.site = { name: 'disk', more: `spool: { sqlite: ${this.#disk}/spool.db, minFree: 500MB }` };
  }

  async tell({ site, fires, clear }: Told): Promise<void> {
    const size = (words: string): void => run('mount', '-o', `remount,size=${words}`, this.#disk);
    size('900m');
    await fires(40, 'DiskLow');
    size('300m');
    await fires(40, 'RefusingMail');
    size('3g');
    site.hangUp();
    await clear(60, 'DiskLow', 'RefusingMail', 'PickupDown');
    const limit = (octets: string): void =>
      run('prlimit', '--pid', String(site.gateway.child.pid), `--fsize=${octets}`);
    limit('4096:unlimited');
    await fires(40, 'SpoolTrouble', 'RefusingMail');
    limit('unlimited:unlimited');
    site.hangUp();
    await clear(60, 'SpoolTrouble', 'RefusingMail');
  }

  async end(): Promise<void> {
    run('sh', '-c', `! mountpoint -q ${this.#disk} || umount -l ${this.#disk}`);
    this.#place.remove();
  }
}

/** Nothing can be written for a while; less than the half minute after which the gateway gives the disk up. */
export class SlowDisk implements Story {
  readonly also = ['SpoolTrouble', 'PickupLate'];
  readonly #place = folder();
  readonly site: SiteOptions;
  readonly #disk: string;

  constructor() {
    this.#disk = join(this.#place.path, 'disk');
    const image = join(this.#place.path, 'image');
    mkdirSync(this.#disk);
    run('truncate', '-s', '2G', image);
    run('mkfs.ext4', '-q', '-m', '0', image);
    run('mount', '-o', 'loop', image, this.#disk);
    // A scrape waits two seconds for the figures, and is to get an answer nevertheless.
    this.site = { name: 'slow-disk', interval: 3, more: `spool: { sqlite: ${this.#disk}/spool.db }` };
  }

  async tell({ fires, clear }: Told): Promise<void> {
    run('fsfreeze', '-f', this.#disk);
    const thaw = (): void => run('sh', '-c', `fsfreeze -u ${this.#disk} 2>/dev/null || true`);
    const late = setTimeout(thaw, 20_000);
    await fires(40, 'StatsLate');
    clearTimeout(late);
    thaw();
    await clear(60, 'StatsLate');
  }

  async end(): Promise<void> {
    run('sh', '-c', `fsfreeze -u ${this.#disk} 2>/dev/null || true`);
    run('sh', '-c', `! mountpoint -q ${this.#disk} || umount -l ${this.#disk}`);
    this.#place.remove();
  }
}
