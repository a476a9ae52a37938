/** Why a listener cannot open its port, and what to do about it, in words. Pure; never fails. */

export interface Port {
  /** Of the listener. */
  readonly name: string;
  /** IP address. */
  readonly address: string;
  readonly port: number;
}

/** @param error what listen() failed with */
export function cannotListen(error: unknown, { name, address, port }: Port): Error {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const place = `Listener "${name}" cannot open port ${port} on ${address}`;
  const reasons: Record<string, string> = {
    EADDRINUSE: 'another program has it; stop that one or choose another port',
    EACCES:
      'the operating system does not let this user open it; choose a port from 1024 up, or give the process the right to open lower ones',
    EADDRNOTAVAIL: 'this machine does not have that address; 0.0.0.0 stands for all it has',
    EAFNOSUPPORT: 'this machine has no IPv6; 0.0.0.0 stands for all its IPv4 addresses',
    EINVAL: 'the operating system takes no port on that address; a link-local one needs its interface (fe80::1%eth0)',
  };
  return new Error(`${place}: ${reasons[code] ?? (error instanceof Error ? error.message : String(error))}`, {
    cause: error,
  });
}
