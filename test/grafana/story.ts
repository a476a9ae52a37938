/** What a story of live alerts is: something goes wrong with a gateway, its alerts fire, it is mended, they end. */
import { execFileSync } from 'node:child_process';
import type { AlertWatch } from './alert-watch.ts';
import type { Site, SiteOptions } from './live-site.ts';

export interface Told {
  readonly site: Site;
  /** Rejects if it does not fire in that time. Names without Smtp2Exchange. */
  fires(seconds: number, ...alerts: readonly string[]): Promise<void>;
  clear(seconds: number, ...alerts: readonly string[]): Promise<void>;
}

export interface Story {
  readonly site: SiteOptions;
  /** What fires besides because the one trouble brings the other. Without Smtp2Exchange. */
  readonly also: readonly string[];
  tell(told: Told): Promise<void>;
  /** Whatever became of it. */
  end?(): Promise<void>;
}

export function toldBy(site: Site, watch: AlertWatch): Told {
  const all = async (alerts: readonly string[], one: (alert: string) => Promise<void>): Promise<void> =>
    void (await Promise.all(alerts.map(one)));
  return {
    site,
    fires: (seconds, ...alerts) => all(alerts, (alert) => watch.fires(`Smtp2Exchange${alert}`, site.name, seconds)),
    clear: (seconds, ...alerts) => all(alerts, (alert) => watch.clears(`Smtp2Exchange${alert}`, site.name, seconds)),
  };
}

/** @throws Error if it ends badly */
export const run = (command: string, ...words: string[]): void => void execFileSync(command, words, { stdio: 'pipe' });
