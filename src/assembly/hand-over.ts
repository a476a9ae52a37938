/** How the mail of a pickup is handed over, as its configuration has it. Only what is configured is loaded. */
import type { ExchangeConfig, PickupConfig, SmtpConfig } from '../config/config.ts';
import { createHttp } from '../exchange/http.ts';
import type { TokenProvider } from '../exchange/token.ts';
import { webhookKey } from '../mail/signing-key.ts';
import { unreachable } from '../mail/status.ts';
import type { Outgoing, Transport } from '../mail/transport.ts';

/** Milliseconds an SMTP server may take for any answer, and at least for that to a message (RFC 5321 section 4.5.3.2.6). */
const SMTP_REPLY = 60_000;
const SMTP_ANSWER = 600_000;
const CONNECT = 10_000;

/** @returns undefined: nobody attempts it, POP3 clients fetch it */
export async function handOverOf(pickup: PickupConfig, hostname: string): Promise<Transport | undefined> {
  const { deliver } = pickup;
  switch (deliver.kind) {
    case 'smtp': {
      const { server, from, ca } = deliver;
      const waits = { connectTimeout: CONNECT, requestTimeout: SMTP_REPLY };
      const transport = await smtpOf(server, { ...waits, ...(ca === undefined ? {} : { ca }) }, hostname, undefined);
      return from === 'sender' ? transport : withSender(transport, from);
    }
    case 'folder': {
      const { folderTransport } = await import('../legacy/folder.ts');
      const { path, form } = deliver;
      return folderTransport({ path, form });
    }
    case 'webhook': {
      const { webhookTransport } = await import('../legacy/webhook.ts');
      const key = deliver.secret === undefined ? undefined : webhookKey(deliver.secret.reveal());
      const { url, form, ca, timeout, authorization } = deliver;
      const http = createHttp({ headersTimeout: timeout, ...(ca === undefined ? {} : { ca }) });
      const transport = webhookTransport({
        url: url.reveal(),
        form,
        ...(key === undefined ? {} : { key }),
        ...(authorization === undefined ? {} : { headers: { authorization: authorization.reveal() } }),
        send: (request) => http.request(request),
      });
      return {
        ...transport,
        close: async () => {
          await transport.close();
          await http.close();
        },
      };
    }
    case 'command': {
      const { commandTransport } = await import('../legacy/command.ts');
      const { command, timeout, environment } = deliver;
      const [program = '', ...words] = command;
      return commandTransport({ command: [program, ...words], timeout, environment });
    }
    case 'pop3':
      return undefined;
    default:
      return unreachable(deliver);
  }
}

/** The transport to an SMTP server: of Exchange, of a smarthost, of a legacy system. */
export async function smtpOf(
  smtp: SmtpConfig,
  { ca, connectTimeout, requestTimeout }: Pick<ExchangeConfig, 'ca' | 'connectTimeout' | 'requestTimeout'>,
  hostname: string,
  token: TokenProvider | undefined,
): Promise<Transport> {
  const { smtpTransport } = await import('../smtp/submit.ts');
  const { login, ...server } = smtp;
  const { kind } = login;
  const user = login.kind === 'none' || login.username === undefined ? {} : { user: login.username };
  return smtpTransport({
    ...server,
    ...(ca === undefined ? {} : { ca }),
    name: hostname,
    timeouts: {
      connect: connectTimeout,
      reply: Math.min(requestTimeout, SMTP_REPLY),
      answer: Math.max(requestTimeout, SMTP_ANSWER),
    },
    login:
      login.kind === 'password'
        ? { kind: login.kind, user: login.username, password: login.password.reveal() }
        : kind === 'oauth' && token !== undefined
          ? { kind, token, ...user }
          : { kind: 'none' },
  });
}

/** Notices of ours go to who sent the mail; the legacy system is told another sender. */
function withSender(transport: Transport, reversePath: string): Transport {
  const told = (outgoing: Outgoing): Outgoing => {
    const { item } = outgoing;
    return { ...outgoing, item: { ...item, envelope: { ...item.envelope, reversePath } } };
  };
  return {
    name: transport.name,
    deliver: (outgoing, signal) => transport.deliver(told(outgoing), signal),
    verify: (outgoing, signal) => transport.verify(told(outgoing), signal),
    close: () => transport.close(),
  };
}
