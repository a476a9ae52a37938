/** A connection URI as libpq reads it, and what is refused, with a sentence that holds no value. */
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PostgresUrl } from '../../src/mail/postgres-url.ts';
import { postgresUrlText, readPostgresUrl, shownPostgresUrl } from '../../src/mail/postgres-url.ts';

function good(text: string): PostgresUrl {
  const read = readPostgresUrl(text);
  if (!read.ok) throw new Error(`${read.problem}; ${read.hint ?? ''}`);
  return read.value;
}

const DB = { host: 'db', port: 5432 };

describe('a URL', () => {
  it('has everything that is not said in its place', () => {
    const url = good('postgresql://mail@db');
    expect(url).toEqual({
      hosts: [DB],
      user: 'mail',
      database: 'mail',
      sslMode: 'prefer',
      connectTimeout: 5_000,
      applicationName: 'smtp2exchange',
      targetSessionAttrs: 'read-write',
    });
  });

  it.each<[string, Partial<PostgresUrl>]>([
    ['postgres://u@db/mail', { database: 'mail' }],
    ['postgresql://u@db:6543/', { hosts: [{ host: 'db', port: 6543 }], database: 'u' }],
    [
      'postgresql://u@db1:1,db2,[2001:db8::1]:3,10.0.0.1/m',
      {
        hosts: [
          { host: 'db1', port: 1 },
          { host: 'db2', port: 5432 },
          { host: '2001:db8::1', port: 3 },
          { host: '10.0.0.1', port: 5432 },
        ],
      },
    ],
    ['postgresql://u%40corp:x@db/my%2Fdb', { user: 'u@corp', database: 'my/db' }],
    ['postgresql://u@%2Fvar%2Frun%2Fpostgresql/m', { hosts: [{ host: '/var/run/postgresql', port: 5432 }] }],
    ['postgresql:///m?host=/run/pg&port=5433&user=u', { hosts: [{ host: '/run/pg', port: 5433 }], user: 'u' }],
    ['postgresql://u@/m?host=a,b&port=1,2', { hosts: [{ host: 'a', port: 1 }, { host: 'b', port: 2 }] }], // prettier-ignore
    ['postgresql://u@?host=a,b&dbname=m', { hosts: [{ host: 'a', port: 5432 }, { host: 'b', port: 5432 }], database: 'm' }], // prettier-ignore
    ['postgresql://u@db/m?sslmode=verify-full&sslrootcert=tls%2Fca.pem', { sslMode: 'verify-full', sslRootCert: 'tls/ca.pem' }], // prettier-ignore
    ['postgresql://u@db/m?sslmode=require&sslcert=c&sslkey=k', { sslMode: 'require', sslCert: 'c', sslKey: 'k' }],
    ['postgresql://u@db/m?connect_timeout=30&application_name=a%20b', { connectTimeout: 30_000, applicationName: 'a b' }], // prettier-ignore
    ['postgresql://u@db/m?target_session_attrs=any', { targetSessionAttrs: 'any' }],
    ['postgresql://bücher@dbä/m', { user: 'bücher' }],
  ])('%s', (text, expected) => {
    expect(good(text)).toMatchObject(expected);
  });

  it.each([
    ['p', 'p'],
    ['a:b', 'a:b'],
    ['%40%2F%3F%23%25%26', '@/?#%&'],
    ['a#b&c=d$&', 'a#b&c=d$&'],
    ['', undefined],
  ])('has the password %s', (written, password) => {
    expect(good(`postgresql://u:${written}@db/m`).password?.()).toBe(password);
  });

  it('shows everything but its password and its parameters', () => {
    const url = good('postgresql://u%40corp:Wort@db1,[::1]:2,%2Frun%2Fpg/m%2Fm?sslmode=prefer');
    expect(shownPostgresUrl(url)).toBe('postgresql://u%40corp@db1:5432,[::1]:2,%2Frun%2Fpg:5432/m%2Fm');
    expect(inspect(url) + JSON.stringify(url)).not.toContain('Wort');
  });

  it.each([
    'postgresql://u:$&$%25%40@db1,[::1]:2,%2Frun%2Fpg/m?sslmode=verify-ca&sslrootcert=/a%20b&sslcert=c&sslkey=k',
    'postgresql://u@db?application_name=%26&connect_timeout=9&target_session_attrs=any',
  ])('is the same when it is written and read again: %s', (text) => {
    const [once, again] = [good(text), good(postgresUrlText(good(text)))];
    expect({ ...again, password: again.password?.() }).toEqual({ ...once, password: once.password?.() });
  });
});

describe('any text', () => {
  it('is taken or refused, and neither shows a password', () => {
    const piece = fc.constantFrom('postgresql://', 'u', ':', '@', '/', '?', '&', '=', '%', '#', ',', '[', ']', 'db', '5432', 'sslmode', 'host', '%2F', '%40', ' ', 'ü'); // prettier-ignore
    const text = fc.tuple(fc.array(piece, { maxLength: 9 }), fc.array(piece, { maxLength: 9 }));
    fc.assert(
      fc.property(text, ([before, after]) => {
        const read = readPostgresUrl(`postgresql://u:geheim${before.join('')}@db${after.join('')}`);
        const shown = read.ok ? shownPostgresUrl(read.value) + JSON.stringify(read.value) : JSON.stringify(read);
        expect(shown).not.toContain('geheim');
        const again = read.ok ? good(postgresUrlText(read.value)) : undefined;
        expect(again?.password?.()).toBe(read.ok ? read.value.password?.() : undefined);
      }),
      { numRuns: 2_000, seed: 20_261_126 },
    );
  });
});

describe('what is refused', () => {
  it.each([
    ['', 'must be a URL that begins with postgresql://'],
    ['mysql://u:geheim@db/m', 'begins with postgresql://'],
    ['host=db password=geheim', 'begins with postgresql://'],
    ['postgresql://u:geheim @db/m', 'white space'],
    ['postgresql://u:geh@eim@db/m', 'an @ in more than one place'],
    ['postgresql://u:geh/eim@db/m', 'an @ in more than one place'],
    ['postgresql://u:geh?eim=1@db/m', 'an @ in more than one place'],
    ['postgresql://u:geheim%@db/m', 'a % that begins no %XX'],
    ['postgresql://u:geheim%ff@db/m', 'a % that begins no %XX'],
    ['postgresql://u:geheim%00@db/m', 'a % that begins no %XX'],
    ['postgresql://db/m', 'names no user'],
    ['postgresql://:geheim@db/m', 'names no user'],
    ['postgresql://u:geheim@/m', 'names no server'],
    ['postgresql:///m', 'names no user'],
    ['postgresql://u:geheim', 'names no user'],
    ['postgresql://u@db:x/m', 'a port that is no number'],
    ['postgresql://u@db:0/m', 'a port that is no number'],
    ['postgresql://u@db:70000/m', 'a port that is no number'],
    ['postgresql://u@db1,,db2/m', 'a server that is no name'],
    ['postgresql://u@::1/m', 'a server that is no name'],
    ['postgresql://u@[db]/m', 'no IPv6 address'],
    ['postgresql://u@db/m?host=other', 'the server twice'],
    ['postgresql://u@db/m?port=1', 'the server twice'],
    ['postgresql://u@/m?host=a,b&port=1,2,3', 'another number of entries'],
    ['postgresql://u@db/m?user=v', 'the user twice'],
    ['postgresql://u@db/m?dbname=n', 'the database twice'],
    ['postgresql://u@db/m?password=geheim&x=y', 'a parameter password'],
    ['postgresql://u@db/m?ssl_mode=require', 'the parameter ssl_mode, which is not known here; did you mean sslmode?'],
    ['postgresql://u@db/m?options=-c%20geheim', 'the parameter options, which is not known here; there is sslmode'],
    ['postgresql://u@db/m?sslmode=require&sslmode=disable', 'the parameter sslmode twice'],
    ['postgresql://u@db/m?sslmode', 'the parameter sslmode without a value'],
    ['postgresql://u@db/m?sslmode=', 'the parameter sslmode without a value'],
    ['postgresql://u@db/m?sslkey=ge=heim', 'the parameter sslkey without a value'],
    ['postgresql://u@db/m?-geheim', 'no name=value'],
    ['postgresql://u@db/m?sslmode=allow', 'a sslmode that is not one of disable, prefer'],
    ['postgresql://u@db/m?target_session_attrs=primary', 'not one of any, read-write'],
    ['postgresql://u@db/m?connect_timeout=0', 'a connect_timeout that is no whole number'],
    ['postgresql://u@db/m?connect_timeout=601', 'a connect_timeout that is no whole number'],
    ['postgresql://u@db/m?sslrootcert=ca.pem', 'sslmode is prefer, which verifies nothing'],
    ['postgresql://u@db/m?sslcert=c', 'only one of sslcert and sslkey'],
    ['postgresql://u@db/m?sslmode=disable&sslcert=c&sslkey=k', 'sslmode is disable'],
    ['postgresql://u@%2Frun/m?sslmode=require', 'names a socket'],
  ])('%s', (text, expected) => {
    const read = readPostgresUrl(text);
    const said = read.ok ? 'taken' : `${read.problem}; ${read.hint ?? ''}`;
    expect(said).toContain(expected);
    expect(said).not.toMatch(/geh|eim/);
  });
});
