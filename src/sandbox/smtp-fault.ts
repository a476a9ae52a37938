/** What the sandbox's SMTP does wrong on command: plain data, so that a control API can carry it. Nothing here fails. */

/** message: after the final dot. body: in the middle of the message. */
export const SMTP_STEPS = [
  'connect',
  'ehlo',
  'starttls',
  'auth',
  'mail',
  'rcpt',
  'rset',
  'data',
  'body',
  'message',
] as const;
export type SmtpStep = (typeof SMTP_STEPS)[number];

export interface SmtpFault {
  readonly at: SmtpStep;
  /** Only where what followed the verb (at auth: the user) holds this text. */
  readonly about?: string;
  /** Said instead of the proper answer: `451 4.7.0 later`. After the final dot it also means: not acted on. */
  readonly reply?: string;
  /** Never answers. */
  readonly silent?: boolean;
  /** Cuts the connection instead of answering. */
  readonly cut?: boolean;
  /** After the final dot: the message is delivered all the same. */
  readonly acts?: boolean;
  /** Words of EHLO that are not offered, until the faults are cleared. */
  readonly hides?: readonly string[];
  /** Takes mail without login, until the faults are cleared, as a smarthost does. */
  readonly openRelay?: boolean;
  /** How often, default 1. */
  readonly times?: number;
}

export class SmtpFaults {
  #faults: SmtpFault[] = [];

  add(fault: SmtpFault): void {
    this.#faults.push(fault);
  }

  clear(): void {
    this.#faults = [];
  }

  get isOpenRelay(): boolean {
    return this.#faults.some(({ openRelay }) => openRelay === true);
  }

  /** STARTTLS was announced to begin, and the fault said otherwise. */
  refusedTls = false;

  isHidden(word: string): boolean {
    return this.#faults.some(({ hides = [] }) => hides.includes(word.split(' ', 1)[0] ?? ''));
  }

  peek(at: SmtpStep, about: string): SmtpFault | undefined {
    return this.#faults.find(
      (one) =>
        one.at === at && one.hides === undefined && one.openRelay === undefined && about.includes(one.about ?? ''),
    );
  }

  take(at: SmtpStep, about: string): SmtpFault | undefined {
    const fault = this.peek(at, about);
    if (at === 'starttls') this.refusedTls = fault?.reply !== undefined;
    if (fault === undefined) return undefined;
    const left = (fault.times ?? 1) - 1;
    this.#faults = this.#faults.flatMap((one) => (one !== fault ? [one] : left > 0 ? [{ ...one, times: left }] : []));
    return fault;
  }
}
