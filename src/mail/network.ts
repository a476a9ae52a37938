/** Lists of networks: CIDR blocks, IPv4 and IPv6. An IPv4 client of an IPv6 socket counts as IPv4. Pure. */
import { BlockList, isIP } from 'node:net';

/**
 * @param networks `10.0.0.0/8`, `::1/128`, or one address
 * @throws TypeError for what is neither, RangeError for a prefix length that is too great
 */
export function networkList(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(network) ?? [];
    const version = isIP(address);
    if (version === 0) throw new TypeError(`not a network: ${network}`);
    const bits = length === undefined ? (version === 4 ? 32 : 128) : Number(length);
    list.addSubnet(address, bits, version === 4 ? 'ipv4' : 'ipv6');
  }
  return (address) => {
    // A link-local client comes with its interface behind a %.
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
    const version = isIP(plain);
    return version !== 0 && list.check(plain, version === 4 ? 'ipv4' : 'ipv6');
  };
}
