/**
 * Sends one mail to an SMTP server: the client of the demo and of alarms. A failure is an Error whose message names the
 * server and says what it answered; nothing is retried.
 */
import { createTransport } from 'nodemailer';

export interface SmtpServer {
  readonly host: string;
  readonly port: number;
  /**
   * never (the default), or offered: STARTTLS where the server offers it, whatever its certificate (RFC 7435): there is
   * no login to protect.
   */
  readonly tls?: 'never' | 'offered';
  /** What the client calls itself in EHLO. */
  readonly name?: string;
  /** Milliseconds without any progress, default 60,000. */
  readonly timeout?: number;
}

export interface MailAttachment {
  readonly filename: string;
  readonly content: Buffer;
  readonly contentType: string;
  /** Content-ID without brackets, for a picture shown inside the HTML. */
  readonly cid?: string;
}

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly cc?: readonly string[];
  /** In the envelope only. */
  readonly bcc?: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html?: string;
  readonly attachments?: readonly MailAttachment[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** @returns the server's reply to the message, for example `250 2.0.0 queued as ...` */
export async function sendMail(server: SmtpServer, mail: Mail): Promise<string> {
  const { host, port, tls = 'never', name, timeout = 60_000 } = server;
  const transport = createTransport({
    host,
    port,
    secure: false,
    ...(tls === 'never' ? { ignoreTLS: true } : { opportunisticTLS: true, tls: { rejectUnauthorized: false } }),
    ...(name === undefined ? {} : { name }),
    connectionTimeout: Math.min(10_000, timeout),
    greetingTimeout: timeout,
    socketTimeout: timeout,
  });
  const { to, cc = [], bcc = [], attachments = [], headers = {}, ...rest } = mail;
  try {
    const sent = await transport.sendMail({
      ...rest,
      to: [...to],
      cc: [...cc],
      bcc: [...bcc],
      attachments: attachments.map((a) => ({ ...a })),
      headers: { ...headers },
    });
    return sent.response;
  } catch (error) {
    throw new Error(
      `${server.host}:${server.port} did not take the mail "${mail.subject}": ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  } finally {
    transport.close();
  }
}
