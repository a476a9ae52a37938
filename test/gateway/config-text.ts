/** A configuration for a test, as text: what stands here is what a user could write. */
import type { Sandbox } from '../../src/sandbox/sandbox.ts';

export interface ConfigTextOptions {
  readonly sandbox: Sandbox;
  readonly caFile: string;
  /** Further top-level keys. */
  readonly more?: string;
  /** Further keys of `exchange`, indented by two. */
  readonly exchange?: string;
  /** Replaces the listener. */
  readonly listeners?: string;
  /** Mailboxes that send what has them in From. */
  readonly mailboxes?: readonly string[];
  /** Replaces `senders`. */
  readonly senders?: string;
  /** Further keys of `console`. */
  readonly console?: string;
  /** Default 0: any that is free. */
  readonly consolePort?: number;
}

export function configText({
  sandbox,
  caFile,
  more = '',
  exchange = '',
  listeners,
  mailboxes = [],
  senders,
  console = '',
  consolePort = 0,
}: ConfigTextOptions): string {
  const rules = mailboxes.map((mailbox) => `{ from: ${mailbox}, mailbox: ${mailbox} }`).join(', ');
  return `
hostname: gateway.test
listeners: ${listeners ?? '[{ name: lan, address: 127.0.0.1, port: 0, tls: none, maxConnections: 100 }]'}
senders: ${senders ?? `{ mailbox: notifications@contoso.com, rules: [${rules}] }`}
exchange:
  tenantId: ${sandbox.tenantId}
  clientId: ${sandbox.clientId}
  clientSecret: \${SECRET}
  ewsUrl: ${sandbox.ewsUrl}
  authority: ${sandbox.authority}
  caFile: ${caFile}
${exchange}
console: { address: 127.0.0.1, port: ${consolePort}${console} }
${more}
`;
}
