/** The script format, and that the player does fail where a gateway answers otherwise. */
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { base64Lines, nameOf } from './attachment.ts';
import { listenersOf, play } from './player.ts';
import { readScript } from './script.ts';

describe('a script', () => {
  it('is sent octet by octet as written, lines in a row as one write', () => {
    const text = [
      '# a comment',
      '@listener {name: x, auth: none}',
      'C: a',
      'C:',
      'C: \\x00\\xfc\\\\ü\\t',
      '@line-ends LF',
      'C: b',
      'C:  c\\',
      'S: 250-one',
      'S: 250 two',
      '@chunks 1',
      'C: d\\r\\n\\',
    ].join('\n');
    expect(readScript('device', text)).toEqual({
      name: 'device',
      listener: { name: 'x', auth: 'none' },
      steps: [
        { line: 3, step: { kind: 'send', octets: Buffer.from('a\r\n\r\n\0\xfc\\\xc3\xbc\t\r\n', 'latin1'), chunk: 0 } },
        { line: 7, step: { kind: 'send', octets: Buffer.from('b\n c'), chunk: 0 } },
        { line: 10, step: { kind: 'reply', lines: ['250-one', '250 two'] } },
        { line: 12, step: { kind: 'send', octets: Buffer.from('d\r\n'), chunk: 1 } },
      ],
    });
  });

  it.each([
    ['hello', 'a line begins with C:, S:, @ or #'],
    ['C: \\q', 'no such escape'],
    ['@dance', 'no directive @dance'],
    ['@attachment big', 'a size is a number with B, KB or MB'],
    ['@line-ends NL', 'line ends are CRLF, LF or CR'],
    ['@wait 1s', 'a wait has ms'],
    ['S: 250-only', 'a reply has no last line'],
    ['C: x\n@listener {}', 'the listener comes first, once'],
  ])('with %j is refused', (text, fault) => {
    expect(() => readScript('device', text)).toThrow(fault);
  });

  it('shares a listener only with scripts that want the same of it', () => {
    const one = readScript('one', '@listener {auth: none}');
    expect([...listenersOf([one, readScript('two', '@listener {auth: none}')]).keys()]).toEqual(['lan']);
    expect(() => listenersOf([one, readScript('two', '@listener {tls: optional}')])).toThrow(
      'two.dialog: another script',
    );
  });
});

describe('an attachment', () => {
  it('has the octets asked for, the same each time, no block like the one before', () => {
    const lines = Buffer.concat([...base64Lines(120_001)]).toString('latin1');
    expect(Buffer.from(lines, 'base64').length).toBe(120_001);
    expect(nameOf(base64Lines(120_001))).toBe(nameOf([Buffer.from(lines)]));
    const [first, second] = [...base64Lines(114_000)];
    expect(first?.length).toBe(second?.length);
    expect(first?.equals(second ?? Buffer.alloc(0))).toBe(false);
    expect(lines.split('\r\n').every((line) => line.length <= 76)).toBe(true);
  });
});

describe('the player', () => {
  let server: Server;

  beforeEach(async () => {
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.write('250-PIPELINING\r\n250-SIZE 10\r\n250 2.0.0 queued as abc\r\n'));
      socket.write('220 hello\r\n');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => server.close());

  const run = (text: string): ReturnType<typeof play> =>
    play(readScript('device', text), (server.address() as AddressInfo).port);

  it('hears what it expects, and remembers ids', async () => {
    expect(await run('S: 220\nC: EHLO x\nS: 250-PIPELINING\nS: 250-SIZE\nS: 250 2.0.0')).toEqual({
      ids: ['abc'],
      attachments: [],
    });
  });

  it.each([
    ['S: 554', 'device.dialog:1: expected 554, got 220 hello'],
    ['S: 220\nC: EHLO x\nS: 250-STARTTLS\nS: 250', 'device.dialog:4: expected 250-STARTTLS | 250, got 250-PIPELINING'],
    ['S: 220\nC: EHLO x\nS: 250-SIZE\nS: 250-PIPELINING\nS: 250', 'device.dialog:5: expected'],
    ['S: 220\nC: EHLO x\n@wait 50ms', 'device: not expected: 250-PIPELINING'],
  ])('rejects %j', async (text, fault) => {
    await expect(run(text)).rejects.toThrow(fault);
  });
});
