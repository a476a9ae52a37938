/**
 * App-only tokens. Promises: at most one request at a time however many ask; a token that is still good is given out at
 * once, also while the identity server is down; it is renewed in the background from about 70 % of its life; a token that
 * a server refused is replaced once. What fails is a value with advice, never a throw. Neither secret, assertion nor token
 * ever reaches an event or a failure.
 */
import type { Report } from '../mail/event.ts';
import type { SetTimer } from '../mail/timer.ts';
import { checkCredential, day, type CheckedCredential, type Credential } from './credential.ts';
import { objectIn, requestWith, type Granted, type RequestToken, type TokenFailure } from './grant.ts';
import type { Http } from './http.ts';

export { validateCredential, type Credential } from './credential.ts';
export type { TokenFailure } from './grant.ts';

export interface Token {
  readonly ok: true;
  /** For the Authorization field, without `Bearer`. */
  readonly token: string;
  /** Epoch milliseconds by this machine's clock. */
  readonly expiresAt: number;
}

export interface TokenOptions {
  /** Name for events. */
  readonly account: string;
  /** https://login.microsoftonline.com/<tenant>; any https host will do. */
  readonly authority: string;
  readonly clientId: string;
  readonly credential: Credential;
  /** Ends in `/.default`. */
  readonly scope: string;
  readonly http: Http;
  readonly report: Report;
  readonly now?: () => number;
  /** For the renewal in the background; must not keep the process alive. */
  readonly setTimer?: SetTimer;
  /** [0, 1) */
  readonly random?: () => number;
  /** Part of its life after which a token is renewed, 0.5 to 0.8, default 0.7; varied by 0.05 either way. */
  readonly refreshAt?: number;
  /** Milliseconds for one request to the identity server, default 20,000. */
  readonly timeout?: number;
}

export interface TokenState {
  /** Of the token held, epoch milliseconds. */
  readonly expiresAt?: number;
  /** Of the latest request, if it failed. */
  readonly lastFailure?: TokenFailure;
}

export interface TokenProvider {
  /** Never rejects. After `signal` aborts: a failure with cause ABORTED, while the request goes on for others. */
  get(signal?: AbortSignal): Promise<Token | TokenFailure>;
  /** The server answered 401 to this token: the next get() asks for a fresh one, at most once a minute. */
  refuse(token: string): void;
  state(): TokenState;
  /** Ends what is under way. Idempotent. */
  close(): Promise<void>;
}

/** A token ends this much before it expires, milliseconds; for short lives a tenth of the life. */
const MARGIN = 60_000;
/** After a forced renewal another refusal forces none for this long, milliseconds: a storm of 401 makes no storm of requests. */
const FORCED_PAUSE = 60_000;
const FIRST_BACKOFF = 1_000;
const MAX_BACKOFF = 60_000;
/** No server may silence us for longer, milliseconds. */
const MAX_RETRY_AFTER = 3_600_000;
const DAY = 86_400_000;
/** A clock that goes back by more, milliseconds, was set. */
const SET_BACK = 1_000;

const setTimer: SetTimer = (then, milliseconds) => {
  const timer = setTimeout(then, milliseconds).unref();
  return () => clearTimeout(timer);
};

interface Held {
  readonly token: string;
  /** Epoch milliseconds: renewed from here on, given out until here, expired. */
  readonly renewAt: number;
  readonly endsAt: number;
  readonly expiresAt: number;
}

export interface RenewableTokenProvider extends TokenProvider {
  /** Another credential of the same application from now on. @returns what is wrong with it; the one before stays then */
  replace(credential: Credential): string | undefined;
}

/** Throws an Error with a plain sentence if credential or authority cannot work; validateCredential says so beforehand. */
export function createTokenProvider(options: TokenOptions): RenewableTokenProvider {
  const wall = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const first = checkCredential(options.credential, wall());
  if (!first.ok) throw new Error(first.fault);
  const asking = (credential: CheckedCredential): RequestToken =>
    requestWith({ ...options, credential, now: wall, timeout: options.timeout ?? 20_000 });
  let { credential } = first;
  let request = asking(credential);
  const { account, report } = options;
  const closing = new AbortController();

  let held: Held | undefined;
  let flight: Promise<Token | TokenFailure> | undefined;
  let refused: string | undefined;
  let forcedAt = -Infinity;
  let failures = 0;
  let lastFailure: TokenFailure | undefined;
  /** Epoch milliseconds before which no request is made. */
  let notBefore = -Infinity;
  let endTimer = (): void => undefined;
  let latest = -Infinity;
  const warned = new Set<string>();

  /** The time. When the clock was set back, what is kept moves with it: no token seems good, and no wait lasts, the longer for it. */
  const now = (): number => {
    const at = wall();
    const by = latest - at;
    latest = by > SET_BACK ? at : Math.max(at, latest);
    if (by > SET_BACK && by < Infinity) {
      notBefore -= by;
      forcedAt -= by;
      if (held !== undefined) {
        const { token, renewAt, endsAt, expiresAt } = held;
        held = { token, renewAt: renewAt - by, endsAt: endsAt - by, expiresAt: expiresAt - by };
      }
    }
    return at;
  };

  const warn = (warning: string): void => {
    if (warned.has(warning)) return;
    warned.add(warning);
    report({ event: 'token.warning', account, warning });
  };

  const succeeded = (answer: Granted, begun: number): Token => {
    const at = now();
    // From the local moment of receipt: whether this clock agrees with the server's does not matter.
    const expiresAt = at + answer.expiresIn;
    const fraction = Math.min(0.8, Math.max(0.5, (options.refreshAt ?? 0.7) + (random() - 0.5) * 0.1));
    held = {
      token: answer.token,
      renewAt: at + answer.expiresIn * fraction,
      endsAt: expiresAt - Math.min(MARGIN, answer.expiresIn / 10),
      expiresAt,
    };
    failures = 0;
    lastFailure = undefined;
    notBefore = -Infinity;
    const claims = claimsOf(answer.token);
    const roles = claims?.roles ?? [];
    report({ event: 'token.acquired', account, expiresAt, seconds: (at - begun) / 1000, roles });
    if (claims && roles.length === 0 && !claims.delegated) {
      warn(
        'The token carries no roles. That is right with RBAC for Applications in Exchange Online; otherwise the permission or its admin consent is missing.',
      );
    }
    if (credential.kind === 'certificate' && credential.expiresAt - at < 30 * DAY) {
      warn(`The certificate of the application expires on ${day(credential.expiresAt)}; upload a new one in time.`);
    }
    return { ok: true, token: answer.token, expiresAt };
  };

  const failed = (failure: TokenFailure, begun: number): TokenFailure => {
    const at = now();
    const backoff = Math.min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** failures++) * (0.8 + 0.4 * random());
    const asked = Math.min(MAX_RETRY_AFTER, failure.retryAfter ?? 0);
    notBefore = at + Math.max(backoff, asked);
    lastFailure = failure.retryAfter === undefined ? failure : { ...failure, retryAfter: asked };
    const validUntil = held && at < held.endsAt ? { validUntil: held.expiresAt } : {};
    report({
      event: 'token.failed',
      account,
      cause: failure.cause,
      advice: failure.advice,
      misconfigured: failure.misconfigured,
      ...validUntil,
      seconds: (at - begun) / 1000,
    });
    return lastFailure;
  };

  const once = async (): Promise<Token | TokenFailure> => {
    const begun = now();
    const used = request;
    const answer = await used(closing.signal);
    // A refused token is given out again if no other can be had: servers answer 401 for passing reasons too.
    refused = undefined;
    if (closing.signal.aborted) return CLOSED;
    // Replaced meanwhile: what was refused to the credential before says nothing of this one.
    if (used !== request && !answer.ok && answer.misconfigured) return await once();
    const outcome = answer.ok ? succeeded(answer, begun) : failed(answer, begun);
    arm();
    return outcome;
  };
  const acquire = (): Promise<Token | TokenFailure> =>
    (flight ??= once()
      .catch((error: unknown) => {
        report({ event: 'bug', where: 'token', error: error instanceof Error ? error : new Error(String(error)) });
        return BUG;
      })
      .finally(() => (flight = undefined)));

  /** Keeps a token warm while nobody asks, until it has expired; does not keep the process alive. */
  const arm = (): void => {
    endTimer();
    if (!held || now() >= held.expiresAt || closing.signal.aborted) return;
    const due = Math.max(held.renewAt, notBefore) - now();
    endTimer = (options.setTimer ?? setTimer)(renew, Math.min(Math.max(due, 100), DAY));
  };
  const renew = (): void => {
    if (held && now() >= Math.max(held.renewAt, notBefore)) void acquire();
    else arm();
  };

  const answerNow = (): Token | TokenFailure | undefined => {
    const at = now();
    if (closing.signal.aborted) return CLOSED;
    if (held && held.token !== refused && at < held.endsAt) {
      if (at >= held.renewAt && at >= notBefore) void acquire();
      return { ok: true, token: held.token, expiresAt: held.expiresAt };
    }
    if (flight || !lastFailure || at >= notBefore) return undefined;
    refused = undefined;
    return lastFailure.retryAfter === undefined ? lastFailure : { ...lastFailure, retryAfter: notBefore - at };
  };

  return {
    get: async (signal) => {
      if (signal?.aborted) return ABORTED;
      return answerNow() ?? (await unlessAborted(acquire(), signal));
    },
    refuse: (token) => {
      const at = now();
      if (held?.token !== token || refused === token || at - forcedAt < FORCED_PAUSE) return;
      forcedAt = at;
      refused = token;
    },
    replace: (next) => {
      const checked = checkCredential(next, now());
      if (!checked.ok) return checked.fault;
      credential = checked.credential;
      request = asking(credential);
      // A token that is held stays good; what was refused to the old credential is no reason to wait.
      lastFailure = undefined;
      failures = 0;
      notBefore = -Infinity;
      return undefined;
    },
    state: () => ({
      ...(held ? { expiresAt: held.expiresAt } : {}),
      ...(lastFailure ? { lastFailure } : {}),
    }),
    close: async () => {
      closing.abort();
      endTimer();
      await flight;
    },
  };
}

const BUG: TokenFailure = {
  ok: false,
  cause: 'BUG',
  misconfigured: false,
  advice: 'This program made a mistake; its log says where.',
};
const ABORTED: TokenFailure = {
  ok: false,
  cause: 'ABORTED',
  misconfigured: false,
  advice: 'The request for a token was given up.',
};
const CLOSED: TokenFailure = { ok: false, cause: 'ABORTED', misconfigured: false, advice: 'The gateway is stopping.' };

async function unlessAborted(
  flight: Promise<Token | TokenFailure>,
  signal: AbortSignal | undefined,
): Promise<Token | TokenFailure> {
  if (!signal) return await flight;
  const { promise, resolve } = Promise.withResolvers<TokenFailure>();
  const onAbort = (): void => resolve(ABORTED);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([flight, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Read for the log only, so whatever cannot be read is nothing. */
function claimsOf(token: string): { readonly roles: readonly string[]; readonly delegated: boolean } | undefined {
  const claims = objectIn(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  if (!claims) return undefined;
  const roles = Array.isArray(claims['roles'])
    ? claims['roles'].filter((role): role is string => typeof role === 'string')
    : [];
  return { roles, delegated: typeof claims['scp'] === 'string' };
}
