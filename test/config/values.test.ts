/** How single values are read: durations, sizes, networks, addresses, URLs, ids, references to the environment. */
import { describe, expect, it } from 'vitest';
import { clientId, clientSecret, passwordHash, scope, tenantId } from '../../src/config/entra.ts';
import { fillIn } from '../../src/config/environment.ts';
import { carriedHeader, displayName, mailbox, pattern, userName } from '../../src/config/addresses.ts';
import {
  covers,
  hostName,
  ipAddress,
  isMostlyPublic,
  network,
  proxyChoice,
  proxyUrl,
  serverName,
  serverUrl,
} from '../../src/config/network.ts';
import { distance, suggest } from '../../src/mail/suggest.ts';
import { timeOrNever } from '../../src/config/kinds.ts';
import { duration, isoDate, size } from '../../src/config/units.ts';
import type { Value } from '../../src/config/value.ts';

function outcome(value: Value<unknown>): unknown {
  return value.ok ? value.value : value.problem;
}

describe('a duration', () => {
  it.each([
    ['0ms', 0],
    ['500ms', 500],
    ['90s', 90_000],
    ['1m', 60_000],
    ['15 m', 900_000],
    ['12h', 43_200_000],
    ['2d', 172_800_000],
    ['30d', 2_592_000_000],
  ])('%s', (text, milliseconds) => {
    expect(duration(text, '0ms', '30d')).toEqual({ ok: true, value: milliseconds });
  });

  it.each([
    '',
    's',
    '1',
    '1.5h',
    '-1s',
    '1M',
    '1S',
    '1min',
    '1 hour',
    '1h30m',
    '90  s',
    'one',
    '1constructor',
    '1e3s',
    '٣s',
    '9999999999999999s',
  ])('not %s', (text) => expect(duration(text, '0ms', '30d').ok).toBe(false));

  it('has a unit', () => {
    expect(outcome(duration('90', '1s', '1h'))).toBe('needs a unit: ms, s, m, h or d, such as 90s or 15m');
  });

  it('has limits, themselves allowed', () => {
    for (const text of ['1s', '1000ms', '1h', '60m']) expect(duration(text, '1s', '1h').ok).toBe(true);
    for (const text of ['999ms', '61m', '0s'])
      expect(outcome(duration(text, '1s', '1h'))).toBe('must be from 1s to 1h');
  });
});

describe('a size', () => {
  it.each([
    ['512B', 512],
    ['1KB', 1_000],
    ['64KiB', 65_536],
    ['35MB', 35_000_000],
    ['35 MB', 35_000_000],
    ['35mb', 35_000_000],
    ['35MiB', 36_700_160],
    ['2GB', 2_000_000_000],
    ['2gib', 2_147_483_648],
  ])('%s', (text, octets) => {
    expect(size(text, '0B', '1000GB')).toEqual({ ok: true, value: octets });
  });

  it.each(['', 'MB', '35', '35M', '35Mi', '35.5MB', '-1MB', '1TB', '35 megabytes', '1,000KB'])('not %s', (text) => {
    expect(size(text, '0B', '1000GB').ok).toBe(false);
  });

  it('has a unit and limits', () => {
    expect(outcome(size('35', '1KB', '1GiB'))).toContain('needs a unit: B, KB, MB, GB');
    expect(outcome(size('999B', '1KB', '1GiB'))).toBe('must be from 1KB to 1GiB');
  });
});

describe('what may never be', () => {
  const late = timeOrNever('', '1s', '1h').safeParse.bind(timeOrNever('', '1s', '1h'));

  it.each([
    ['never', Infinity],
    ['90s', 90_000],
  ])('%s', (text, value) => expect(late(text).data).toBe(value));

  it.each([
    ['90', 'needs a unit: ms, s, m, h or d, such as 90s or 15m, or never', undefined],
    ['2h', 'must be from 1s to 1h, or never', undefined],
    ['Never', expect.stringMatching(/^must be a duration: .*, or never$/) as string, 'did you mean never?'],
    ['nver', expect.stringMatching(/, or never$/) as string, 'did you mean never?'],
  ])('not %s', (text, problem, hint) => {
    expect(late(text).error?.issues[0]).toMatchObject({ message: problem, params: { hint } });
  });
});

describe('a date', () => {
  it.each([
    ['2027-01-31', Date.UTC(2027, 0, 31)],
    ['2028-02-29', Date.UTC(2028, 1, 29)],
    ['1999-12-31', Date.UTC(1999, 11, 31)],
    ['2027-01-31T12:30Z', Date.UTC(2027, 0, 31, 12, 30)],
    ['2027-01-31T12:30:15Z', Date.UTC(2027, 0, 31, 12, 30, 15)],
    ['2027-01-31T12:30:15.5+02:00', Date.UTC(2027, 0, 31, 10, 30, 15, 500)],
    ['2027-01-31T23:30:00-05:00', Date.UTC(2027, 1, 1, 4, 30)],
  ])('%s', (text, at) => expect(isoDate(text)).toEqual({ ok: true, value: at }));

  it.each(['', '2027', '2027-1-31', '31.01.2027', '1/31/2027', '2027-01-31T12:30', '2027-01-31 12:30Z', '20270131'])(
    'not %s',
    (text) => expect(outcome(isoDate(text))).toMatch(/^must be a date/),
  );

  it.each(['2027-02-29', '2027-13-01', '2027-00-10', '2027-04-31', '2027-01-31T25:00Z', '2027-01-31T12:60Z'])(
    'none that there is not: %s',
    (text) => expect(outcome(isoDate(text))).toBe('is no day or time that there is'),
  );
});

describe('a network', () => {
  it.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['192.168.1.20', '192.168.1.20/32'],
    ['192.168.1.20/32', '192.168.1.20/32'],
    ['192.168.1.128/25', '192.168.1.128/25'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::/0', '::/0'],
    ['::1', '::1/128'],
    ['FD00::/8', 'fd00::/8'],
    ['2001:db8:0:8000::/49', '2001:db8:0:8000::/49'],
    ['::ffff:10.0.0.0/104', '::ffff:10.0.0.0/104'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8/128'],
  ])('%s', (text, canonical) => {
    expect(network(text)).toEqual({ ok: true, value: canonical });
  });

  it.each([
    '',
    '/8',
    '10.0.0/8',
    '10.0.0.0/',
    '10.0.0.0/a',
    '10.0.0.0/8/8',
    '010.0.0.1',
    'host',
    'fe80::1%eth0',
    '10.0.0.0 /8',
  ])('not %s', (text) => expect(outcome(network(text))).toMatch(/^must be an IP address or a network/));

  it.each([
    '10.0.0.1/8',
    '192.168.1.129/25',
    '0.0.0.1/0',
    '::1/0',
    'fd00::1/8',
    '2001:db8:0:8000::/48',
    '::ffff:10.0.0.1/104',
  ])('has no bits beyond its prefix: %s', (text) => expect(outcome(network(text))).toMatch(/^is no network/));

  it.each(['10.0.0.0/33', '::/129'])('has a prefix that fits: %s', (text) => {
    expect(outcome(network(text))).toMatch(/prefix length/);
  });
});

describe('networks compared', () => {
  it.each([
    ['10.0.0.0/8', '10.0.0.0/8', true],
    ['10.0.0.0/8', '10.255.255.255/32', true],
    ['10.0.0.0/8', '11.0.0.0/32', false],
    ['10.1.0.0/16', '10.0.0.0/8', false],
    ['0.0.0.0/0', '203.0.113.0/24', true],
    ['0.0.0.0/0', '::/0', false],
    ['::/0', '0.0.0.0/0', true],
    ['0.0.0.0/0', '::ffff:0:0/96', true],
    ['::ffff:10.0.0.0/104', '10.1.2.3/32', true],
    ['10.0.0.0/8', '::ffff:10.1.2.0/120', true],
    ['fd00::/8', 'fd12:3456::/32', true],
    ['fd00::/8', 'fc00::/7', false],
    ['2001:db8::/32', '2001:db8:ffff::1/128', true],
  ])('%s has all of %s: %s', (outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected);
  });

  const stranger = ['0.0.0.0/0', '128.0.0.0/1', '10.0.0.0/7', '::/0', '2000::/3', '2600::/12', '2000::/15'];
  const mapped = ['::ffff:0:0/96', '::/80', '::/16', '::ffff:0:0/103'];
  const own = ['10.0.0.0/8', '11.0.0.0/8', '127.0.0.0/8', '192.168.0.0/16', '100.64.0.0/10', '203.0.113.9/32'];
  const ownIpv6 = ['::1/128', 'fc00::/7', 'fd00::/8', 'fe80::/10', '2001::/16', '2001:db8::/32', '::ffff:0:0/104'];

  it.each([...stranger, ...mapped])('%s is mostly public', (text) => expect(isMostlyPublic(text)).toBe(true));
  it.each([...own, ...ownIpv6])("%s may be one's own", (text) => expect(isMostlyPublic(text)).toBe(false));
});

describe('mail', () => {
  it.each([
    [
      mailbox,
      ['notifications@contoso.com', '+39055@fax.example', "o'neil@contoso.com", 'jürgen@bücher.example'],
      ['', 'pbx', '@contoso.com', '*@contoso.com', 'a@b@c', 'a b@contoso.com', 'PBX <pbx@contoso.com>', 'a@b..c'],
    ],
    [
      pattern,
      ['*', '@contoso.com', '*@contoso.com', 'fax@contoso.com', '*@*.contoso.com', 'scan-*@contoso.com', '*@*'],
      ['', '@', 'contoso.com', '*.contoso.com', '**', '*contoso.com', 'a@contoso.com,b@contoso.com', '<a@contoso.com>'],
    ],
    [userName, ['pbx', 'Telephone system', 'pbx@contoso.com', 'Jürgen'], ['', 'a\tb', 'a\u200bb', 'x'.repeat(256)]],
    [displayName, ['Telephone system', '"Fax", 2nd floor', 'Büro'], ['', 'a\r\nBcc: b', 'a\0', 'x'.repeat(101)]],
    [
      carriedHeader,
      ['X-Ticket-ID', 'x-a', `X-${'a'.repeat(62)}`, 'X-Mailer'],
      [
        'X-',
        'X',
        'Ticket',
        'X-Ticket:',
        'X-A B',
        'X-Ü',
        `X-${'a'.repeat(63)}`,
        'x-ms-exchange-x',
        'X-SMTP2Exchange-Hop',
      ],
    ],
  ])('%o', (read, right, wrong) => {
    expect(accepted(read, [...right, ...wrong])).toEqual(right);
  });

  it.each([
    ['contoso.com', /@ before it/],
    ['*.contoso.com', /@ before it/],
    ['a@contoso.com; b@contoso.com', /entry of its own/],
    ['Fax <fax@contoso.com>', /display name/],
  ])('says what is meant by %s', (text, hint) => {
    const read = pattern(text);
    expect(read.ok ? '' : read.hint).toMatch(hint);
  });
});

function accepted(read: (text: string) => Value<unknown>, texts: readonly string[]): string[] {
  return texts.filter((text) => read(text).ok);
}

function url(text: string, httpOnLoopback = true): unknown {
  return outcome(serverUrl(text, { httpOnLoopback }));
}

describe('addresses, names and URLs', () => {
  it('listens on IP addresses', () => {
    expect(
      accepted(ipAddress, ['127.0.0.1', '0.0.0.0', '::', '::1', 'localhost', '', '[::1]', 'fe80::1%eth0', '1.2.3']),
    ).toEqual(['127.0.0.1', '0.0.0.0', '::', '::1']);
  });

  it('is called by a domain name', () => {
    const labels = `${'a'.repeat(63)}.contoso.com`;
    const good = ['gateway', 'gateway.contoso.com', 'xn--bcher-kva.example', labels];
    const wrong = [
      '',
      '.',
      'a..b',
      '-a',
      'a-',
      'a b',
      'a_b',
      'bücher.example',
      '192.0.2.1',
      `a${labels}`,
      `${'a.'.repeat(127)}com`,
    ];
    expect(accepted(hostName, [...good, ...wrong])).toEqual(good);
  });

  it('reaches servers by https, by http on this machine where no credential travels', () => {
    expect(url('https://mail.contoso.com/EWS/Exchange.asmx')).toBe('https://mail.contoso.com/EWS/Exchange.asmx');
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '127.8.8.8']) {
      expect(url(`http://${host}:81/x`)).toBe(`http://${host}:81/x`);
      expect(url(`http://${host}:81/x`, false)).toBe('must begin with https://');
    }
    for (const text of [
      'http://127.0.0.1.contoso.com/',
      'http://mail.contoso.com/',
      'ftp://127.0.0.1/',
      'file:///etc/passwd',
    ]) {
      expect(url(text)).toMatch(/^must (begin with|be a URL)/);
    }
    expect(url('https://u:p@mail.contoso.com/')).toBe('must not hold a user name or password');
    expect(url('https://mail.contoso.com/?a=1')).toBe('must not have a part after ? or #');
    expect(url('mail.contoso.com')).toMatch(/^must be a URL/);
  });

  it('has URLs with a part after ? where that is said', () => {
    const withQuery = (text: string) => outcome(serverUrl(text, { httpOnLoopback: true, query: true }));
    expect(withQuery('https://hooks.example/x?sig=a')).toBe('https://hooks.example/x?sig=a');
    expect(withQuery('http://[::1]:9/?a')).toBe('http://[::1]:9/?a');
    expect(withQuery('https://hooks.example/x#a')).toBe('must not have a part after #');
    expect(withQuery('http://hooks.example/x?sig=a')).toBe('must begin with https://');
  });

  it('reaches other servers by name or address', () => {
    const right = ['mail', 'mail.contoso.com', '192.0.2.1', '2001:db8::1', '127.0.0.1'];
    expect(accepted(serverName, [...right, '', 'mail:25', '[::1]', 'fe80::1%eth0', 'smtp://mail', 'a b'])).toEqual(
      right,
    );
  });

  it('goes through HTTP proxies', () => {
    expect(
      accepted(proxyUrl, ['http://proxy:3128', 'https://u:p@proxy', 'proxy:3128', 'socks5://proxy', 'http://']),
    ).toEqual(['http://proxy:3128', 'https://u:p@proxy']);
    expect(outcome(proxyChoice('none'))).toBe('none');
    expect(outcome(proxyChoice('environment'))).toBe('environment');
    expect(String(outcome(proxyChoice('http://u:p@proxy')))).toBe('[secret]');
  });
});

describe('what Entra ID gives out', () => {
  const guid = '11111111-2222-3333-4444-555555555555';

  it.each([
    [
      tenantId,
      [guid, 'contoso.onmicrosoft.com', 'contoso.com'],
      ['contoso', 'common', 'Organizations', 'a b.c', `${guid}0`, ''],
    ],
    [clientId, [guid, guid.toUpperCase()], ['contoso.com', guid.slice(1), `{${guid}}`]],
    [clientSecret, ['abc8Q~x.y_z-1'], [guid, ' abc', 'abc\n']],
    [
      scope,
      ['https://outlook.office365.com/.default'],
      ['https://outlook.office365.com/', 'a/.default b/.default', '/.default/'],
    ],
    [
      passwordHash,
      [
        '$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA',
        '$scrypt$ln=10,r=8,p=1$c2FsdHNhbHQ=$aGFzaGhhc2hoYXNoaGFzaA==',
      ],
      [
        'secret',
        '$scrypt$ln=9,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA',
        '$scrypt$ln=21,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA',
        '$2b$10$aaaa',
      ],
    ],
  ])('%o', (read, good, wrong) => {
    expect([...good, ...wrong].filter((text) => read(text).ok)).toEqual(good);
  });
});

describe('${NAME}', () => {
  const environment = { A: 'one', B: '${A}', _c1: '3', EMPTY: '' };

  it.each([
    ['no reference', 'no reference'],
    ['${A}', 'one'],
    ['x${A}-${_c1}y', 'xone-3y'],
    ['$${A}', '${A}'],
    ['$$${A}', '$${A}'],
    ['$A $ {A} $$', '$A $ {A} $$'],
    ['$scrypt$ln=15', '$scrypt$ln=15'],
    // What is put in is not looked at again.
    ['${B}', '${A}'],
  ])('%s', (text, filled) => {
    expect(fillIn(text, environment)).toEqual({ ok: true, value: filled });
  });

  it.each([
    ['${GONE}', 'the environment variable GONE is not set'],
    ['${A}${GONE}${EMPTY}', 'the environment variable GONE is not set'],
    ['${EMPTY}', 'the environment variable EMPTY is empty'],
    ['${}', 'has a ${ that does not begin a ${NAME}'],
    ['${A', 'has a ${ that does not begin a ${NAME}'],
    ['${A:-b}', 'has a ${ that does not begin a ${NAME}'],
    ['${1A}', 'has a ${ that does not begin a ${NAME}'],
  ])('not %s', (text, problem) => {
    expect(outcome(fillIn(text, environment))).toBe(problem);
  });

  it('finds nothing that is only inherited', () => {
    expect(fillIn('${toString}', environment).ok).toBe(false);
  });
});

describe('the nearest known word', () => {
  it.each([
    ['listners', 'listeners'],
    ['Listeners', 'listeners'],
    ['client_id', 'clientId'],
    ['client-secret', 'clientSecret'],
    ['prot', 'port'],
    ['tennantId', 'tenantId'],
    ['mailbox', undefined],
    ['x', undefined],
    ['', undefined],
  ])('%s: %s', (word, nearest) => {
    expect(suggest(word, ['listeners', 'clientId', 'clientSecret', 'port', 'tenantId'])).toBe(nearest);
  });

  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', 'abc', 0],
    ['abc', 'acb', 1],
    ['abc', 'abd', 1],
    ['abc', 'ab', 1],
    ['kitten', 'sitting', 3],
    ['ca', 'abc', 3],
  ])('%s and %s are %i apart', (a, b, apart) => {
    expect(distance(a, b)).toBe(apart);
    expect(distance(b, a)).toBe(apart);
  });
});
