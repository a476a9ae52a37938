/**
 * Sends one mail to an SMTP server: the demo's client. A failure is an Error whose message names the server and says
 * what it answered; nothing is retried.
 */
import { createTransport } from 'nodemailer';

export interface SmtpServer {
  readonly host: string;
  readonly port: number;
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
}

/** @returns the server's reply to the message, for example `250 2.0.0 queued as ...` */
export async function sendMail(server: SmtpServer, mail: Mail): Promise<string> {
  const transport = createTransport({
    host: server.host,
    port: server.port,
    secure: false,
    ignoreTLS: true,
    connectionTimeout: 10_000,
    socketTimeout: 60_000,
  });
  const { to, cc = [], bcc = [], attachments = [], ...rest } = mail;
  try {
    const sent = await transport.sendMail({
      ...rest,
      to: [...to],
      cc: [...cc],
      bcc: [...bcc],
      attachments: attachments.map((a) => ({ ...a })),
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
