/** Whether an address is in one of the networks. */
import { describe, expect, it } from 'vitest';
import { networkList } from '../../src/mail/network.ts';

describe('networkList', () => {
  it.each([
    { networks: ['10.0.0.0/8'], address: '10.255.0.1', isIn: true },
    { networks: ['10.0.0.0/8'], address: '11.0.0.1', isIn: false },
    { networks: ['192.168.1.20'], address: '192.168.1.20', isIn: true },
    { networks: ['192.168.1.20'], address: '192.168.1.21', isIn: false },
    { networks: ['0.0.0.0/0'], address: '203.0.113.9', isIn: true },
    { networks: ['0.0.0.0/0'], address: '2001:db8::1', isIn: false },
    { networks: ['::/0'], address: '2001:db8::1', isIn: true },
    { networks: ['2001:db8::/32'], address: '2001:db8:ffff::1', isIn: true },
    { networks: ['2001:db8::/32'], address: '2001:db9::1', isIn: false },
    { networks: ['::1'], address: '::1', isIn: true },
    { networks: ['10.0.0.0/8'], address: '::ffff:10.1.2.3', isIn: true },
    { networks: ['10.0.0.0/8'], address: '::FFFF:10.1.2.3', isIn: true },
    { networks: ['10.0.0.0/8'], address: '::ffff:11.1.2.3', isIn: false },
    { networks: ['fe80::/10'], address: 'fe80::1%eth0', isIn: true },
    { networks: ['10.0.0.0/8'], address: 'fe80::1%eth0', isIn: false },
    { networks: ['172.16.0.0/12', '::1/128'], address: '172.31.255.255', isIn: true },
    { networks: ['172.16.0.0/12', '::1/128'], address: '172.32.0.0', isIn: false },
    { networks: [], address: '127.0.0.1', isIn: false },
    { networks: ['0.0.0.0/0', '::/0'], address: '', isIn: false },
    { networks: ['0.0.0.0/0', '::/0'], address: 'localhost', isIn: false },
  ])('$networks: $address is in: $isIn', ({ networks, address, isIn }) => {
    expect(networkList(networks)(address)).toBe(isIn);
  });

  // An empty prefix length must not become /0, which is everybody.
  it.each(['localhost', '', '10.0.0.0/', '10.0.0.0/x', '10.0.0.0/8/8', '10.0.0.0/ 8', '10.0.0/8'])(
    'refuses %j',
    (network) => {
      expect(() => networkList([network])).toThrow(TypeError);
    },
  );

  it.each(['10.0.0.0/33', '::/129'])('refuses %j', (network) => {
    expect(() => networkList([network])).toThrow(RangeError);
  });
});
