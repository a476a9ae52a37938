/** What a server tells of itself, and what `check` says to it. */
import { describe, expect, it } from 'vitest';
import { judgedSession, judgedStore, judgedVersion } from '../../src/commands/database-verdict.ts';
import type { PostgresUrl } from '../../src/mail/postgres-url.ts';
import { readPostgresUrl } from '../../src/mail/postgres-url.ts';
import type { ServerSurvey } from '../../src/spool/postgres-survey.ts';

const SOUND: ServerSurvey = {
  version: 180_004,
  isEncrypted: true,
  takesWrites: true,
  ahead: -20,
  precision: 3,
  settings: { fsync: 'on', fullPageWrites: 'on', synchronousCommit: 'on', standbyNames: 'ANY 1 (a, b)' },
  connections: { most: 97, free: 90 },
  tables: { kind: 'there', format: 1, oldest: 1, mayBeChanged: true },
};
const there = (format: number, oldest: number, mayBeChanged = true): Partial<ServerSurvey> => ({
  tables: { kind: 'there', format, oldest, mayBeChanged },
});
const set = (settings: Partial<ServerSurvey['settings']>): Partial<ServerSurvey> => ({
  settings: { ...SOUND.settings, ...settings },
});

const lines = (survey: Partial<ServerSurvey>): string =>
  judgedStore({ ...SOUND, ...survey }, 10)
    .map(({ mark, says }) => `${mark} ${says}`)
    .join('\n');

describe('the one that takes writes', () => {
  it('has nothing against it when all is well', () => {
    expect(lines({})).toBe(`ok of format 1
ok what is committed is on its disk
ok a commit waits for a standby: a fail-over loses nothing (synchronous_standby_names)
ok 90 of 97 connections are free, and this gateway takes 10 (spool.connections)
ok its clock and the one of this machine agree`);
  });

  it.each<[string, Partial<ServerSurvey>]>([
    ['ok no tables yet; the first gateway makes them', { tables: { kind: 'absent', mayBeMade: true } }],
    ['fail there are no tables yet, and this login may not', { tables: { kind: 'absent', mayBeMade: false } }],
    ['fail the schema smtp2exchange belongs to other', { tables: { kind: 'closed', owner: 'other' } }],
    ['ok of format 3, which this version (1) can work with', there(3, 1)],
    ['fail a newer version of this program has brought it up (format 3, this one knows 1)', there(3, 2)],
    ['ok of format 0; the gateway brings it up to 1', there(0, 0)],
    ['fail of format 0, and this login may not bring it up', there(0, 0, false)],
    ['fail fsync is off', set({ fsync: 'off' })],
    ['warn full_page_writes is off', set({ fullPageWrites: 'off' })],
    ['ok synchronous_commit is off, which the gateway overrides', set({ synchronousCommit: 'off' })],
    ['warn synchronous_commit is local', set({ synchronousCommit: 'local' })],
    ['warn synchronous_commit is remote_write', set({ synchronousCommit: 'remote_write' })],
    ['warn no standby is waited for', set({ standbyNames: '' })],
    ['fail 5 of 5 connections are free, and this gateway takes 10', { connections: { most: 5, free: 5 } }],
    ['warn 9 of 20 connections are free, and this gateway takes 10', { connections: { most: 20, free: 9 } }],
    ['warn its clock is 6 s ahead of', { ahead: 6_000, precision: 500 }],
    ['warn its clock is 6 s behind', { ahead: -6_000, precision: 500 }],
    ['ok its clock and the one of this machine agree', { ahead: 6_000, precision: 1_500 }],
  ])('%s', (expected, survey) => {
    expect(lines(survey)).toContain(expected);
  });
});

describe('the way to a server', () => {
  function url(text: string): PostgresUrl {
    const read = readPostgresUrl(text);
    if (!read.ok) throw new Error(read.problem);
    return read.value;
  }

  it.each([
    ['ok reached, and logged in as u, with TLS, and its certificate is trusted', 'postgresql://u@db/m?sslmode=verify-full', true], // prettier-ignore
    ['warn reached, and logged in as u, with TLS, but sslmode=require verifies nobody', 'postgresql://u@db/m?sslmode=require', true], // prettier-ignore
    ['warn reached, and logged in as u, without TLS', 'postgresql://u@db/m', false],
    ['ok reached, and logged in as u, on this machine', 'postgresql://u@127.0.0.1/m', false],
    ['ok reached, and logged in as u, on this machine', 'postgresql://u@%2Frun%2Fpg/m', false],
  ])('%s', (expected, text, isEncrypted) => {
    const read = url(text);
    const [host = { host: '', port: 0 }] = read.hosts;
    const { mark, says } = judgedSession(read, host, { ...SOUND, isEncrypted });
    expect(`${mark} ${says}`.startsWith(expected)).toBe(true);
  });

  it.each([
    [130_011, 'PostgreSQL 13.11 (tested are 15 and 18)'],
    [150_018, 'PostgreSQL 15.18'],
    [180_004, 'PostgreSQL 18.4'],
  ])('%d', (version, says) => {
    expect(judgedVersion({ ...SOUND, version })).toEqual({ mark: 'ok', says });
  });
});
