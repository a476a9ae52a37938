/** Which listener a test mail goes in by, and when a mail has come to its end. */
import { describe, expect, it } from 'vitest';
import { doorOf, doorText } from '../../src/commands/send-door.ts';
import { endOf } from '../../src/commands/send-follow.ts';
import type { SoundListener } from '../../src/config/sound.ts';
import type { ItemState, QueueItem } from '../../src/mail/item.ts';

const LAN: SoundListener = {
  name: 'lan',
  address: '127.0.0.1',
  port: 2525,
  tls: 'none',
  auth: 'none',
  allow: ['127.0.0.0/8', '::1/128'],
  loginFrom: [],
  proxyProtocol: [],
};

describe('the door', () => {
  it.each([
    ['as it is', [LAN], false, { host: '127.0.0.1', port: 2525, tls: 'never' }],
    [
      'every address is this one',
      [{ ...LAN, address: '0.0.0.0', tls: 'optional' }],
      false,
      { host: '127.0.0.1', port: 2525, tls: 'offered' },
    ],
    ['of IPv6 too', [{ ...LAN, address: '::', tls: 'required' }], false, { host: '::1', port: 2525, tls: 'required' }],
    [
      'an address of its own, that is allowed',
      [{ ...LAN, address: '10.1.2.3', allow: ['10.0.0.0/8'], tls: 'implicit' }],
      false,
      { host: '10.1.2.3', port: 2525, tls: 'implicit' },
    ],
    [
      'the first that goes',
      [{ ...LAN, port: 0 }, undefined, { ...LAN, auth: 'required' }, { ...LAN, port: 26 }],
      false,
      { host: '127.0.0.1', port: 26, tls: 'never' },
    ],
    [
      'with a login',
      [LAN, { ...LAN, port: 26, auth: 'optional', allow: [], loginFrom: ['127.0.0.1/32'] }],
      true,
      { host: '127.0.0.1', port: 26, tls: 'never' },
    ],
  ] as const)('%s', (_, listeners, hasLogin, door) => {
    expect(doorOf(listeners, hasLogin)).toEqual(door);
  });

  it.each([
    ['any free port', [{ ...LAN, port: 0 }], false],
    ['does not allow 127.0.0.1', [{ ...LAN, allow: ['10.0.0.0/8'] }], false],
    ['does not allow 10.1.2.3', [{ ...LAN, address: '10.1.2.3' }], false],
    ['wants a login', [{ ...LAN, auth: 'required' }], false],
    ['wants a login', [{ ...LAN, auth: 'optional', allow: [], loginFrom: ['127.0.0.0/8'] }], false],
    ['takes no login', [LAN], true],
    ['PROXY header', [{ ...LAN, proxyProtocol: ['127.0.0.1/32'] }], false],
    ['has none that can be read', [undefined], false],
    ['cannot be read', [{ name: 'lan' }], false],
  ] as const)('none: %s', (why, listeners, hasLogin) => {
    expect(() => doorOf(listeners as readonly SoundListener[], hasLogin)).toThrow(why);
  });

  it('is written with brackets where it is IPv6', () => {
    expect(doorText({ host: '::1', port: 25, tls: 'never' })).toBe('[::1]:25');
    expect(doorText({ host: 'h', port: 25, tls: 'never' })).toBe('h:25');
  });
});

describe('the end', () => {
  it.each([
    [[], 'waiting'],
    [['relayed'], 'delivered'],
    [['relayed', 'queued'], 'waiting'],
    [['relayed', 'sending'], 'waiting'],
    [['relayed', 'parked'], 'failed'],
    [['bounced'], 'failed'],
    [['dropped'], 'failed'],
  ] as const)('%j: %s', (states: readonly ItemState[], end) => {
    expect(endOf(states.map((state) => ({ state }) as QueueItem))).toBe(end);
  });
});
