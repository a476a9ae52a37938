/**
 * Logging in with user name and password, as Exchange on its own servers has it: Basic (RFC 7617), or NTLM (MS-NTHT), which
 * is bound to its connection: each connection logs in once, by requests without a body, and then carries mail. Promises:
 * no password and no mail goes where the login was not seen to work; a wrong password is tried once in a quarter of an
 * hour, by one connection, so that no directory locks the account. A refusal is a value with advice.
 */
import { randomBytes } from 'node:crypto';
import { withField, type Authorizer } from './authorizer.ts';
import type { TokenFailure } from './grant.ts';
import { HttpFailure, type Http, type HttpRequest, type HttpResponse, type HttpWithLanes, type Lane } from './http.ts';
import { authenticateMessage, channelBinding, negotiateMessage, readChallenge, type WindowsAccount } from './ntlm.ts';

export interface AccountOptions {
  readonly http: HttpWithLanes;
  /** Address of Exchange.asmx. */
  readonly url: string;
  readonly userAgent: string;
  readonly login: 'ntlm' | 'basic';
  readonly account: WindowsAccount;
  /** Milliseconds, for the time in messages and the wait after a refusal. Default: the wall clock, and one that nobody sets. */
  readonly now?: () => number;
}

export interface AccountAuthorizer extends Authorizer {
  /** Another password from now on. A refusal is forgotten, also if it is the same: somebody has asked for another try. */
  replace(account: WindowsAccount): void;
}

/** After a refused login the next is made so much later, milliseconds: lockouts count within half an hour and more. */
export const REFUSED_PAUSE = 900_000;
/** Octets of the answer to a login, which is an error page or a description of the service. */
const PAGE = 1024 * 1024;

type Opened<T> = { readonly ok: true; readonly way: T } | TokenFailure;

export function accountAuthorizer(options: AccountOptions): AccountAuthorizer {
  const gate = new Gate(options.now ?? (() => performance.now()));
  let { account } = options;
  let ways = waysOf(options, account);
  /** By the account of the moment: what the one before it came to, which was replaced meanwhile, says nothing of it. */
  const open = (signal: AbortSignal): Promise<Opened<Way>> =>
    gate.through(async () => {
      for (;;) {
        const mine = ways;
        const opened = await mine.open(signal);
        if (mine === ways) return opened;
        if (opened.ok) opened.way.close();
        if (signal.aborted) return ABORTED;
      }
    }, signal);
  return {
    async send(make, signal) {
      for (let refusals = 0; ;) {
        const kept = ways.idle.pop();
        const opened: Opened<Way> = kept ? { ok: true, way: kept } : await open(signal);
        if (!opened.ok) return opened;
        const { way } = opened;
        const { idle } = ways;
        try {
          const response = await way.request(make());
          if (response.status !== 401) return { ok: true, response: watched(response, way, idle) };
          response.discard();
          // The others may be as stale; to log in anew costs little.
          for (const one of [way, ...idle.splice(0)]) one.close();
          if (++refusals === 2) return notKept(options.login);
        } catch (error) {
          way.close();
          // A server may end an idle connection at any moment: nothing was sent, and the next one is new.
          if (!(error instanceof HttpFailure && error.code === 'LANE_CLOSED') || kept === undefined) throw error;
        }
      }
    },
    replace(next) {
      gate.forget();
      if (next.username === account.username && next.domain === account.domain && next.password === account.password)
        return;
      account = next;
      for (const way of ways.idle) way.close();
      ways = waysOf(options, account);
    },
  };
}

/** Where requests can be made that the server lets in. */
type Way = Pick<Lane, 'request' | 'isOpen' | 'close'>;

interface Ways {
  readonly open: (signal: AbortSignal) => Promise<Opened<Way>>;
  /** Logged in and free. */
  readonly idle: Way[];
}

function waysOf(options: AccountOptions, account: WindowsAccount): Ways {
  const open = options.login === 'ntlm' ? ntlm(options, account) : basic(options, account);
  return { open, idle: [] };
}

/** Gives the way back once the answer is read to its end. */
function watched(response: HttpResponse, way: Way, idle: Way[]): HttpResponse {
  const giveBack = (): void => {
    for (const stale of idle.filter((one) => !one.isOpen())) idle.splice(idle.indexOf(stale), 1)[0]?.close();
    if (way.isOpen()) idle.push(way);
    else way.close();
  };
  async function* read(): AsyncGenerator<Uint8Array> {
    yield* response.body;
    giveBack();
  }
  return {
    ...response,
    body: read(),
    async text(limit) {
      try {
        const text = await response.text(limit);
        giveBack();
        return text;
      } catch (error) {
        way.close();
        throw error;
      }
    },
    discard() {
      response.discard();
      way.close();
    },
  };
}

// --- Basic ----------------------------------------------------------------------------------------------------------

function basic({ http, url, userAgent }: AccountOptions, account: WindowsAccount): Ways['open'] {
  const { username, domain, password } = account;
  const user = domain === '' ? username : `${domain}\\${username}`;
  const field = `Basic ${Buffer.from(`${user}:${password}`, 'utf8').toString('base64')}`;
  const way: Way = { request: (request) => http.request(withField(request, field)), isOpen: () => true, close() {} };
  return async (signal) => {
    const answer = await knock(http, withField({ ...question(url, userAgent), signal }, field));
    if (answer.status !== 401) return { ok: true, way };
    return offers(answer, 'basic')
      ? refusedLogin('The user name or the password is wrong, or the account is locked or disabled.')
      : notOffered('Basic', answer);
  };
}

// --- NTLM -----------------------------------------------------------------------------------------------------------

function ntlm({ http, url, userAgent, now = Date.now }: AccountOptions, account: WindowsAccount): Ways['open'] {
  return async (signal) => {
    const lane = http.lane();
    try {
      const opened = await logIn(lane, { ...question(url, userAgent), signal }, account, now);
      if (!opened.ok) lane.close();
      return opened;
    } catch (error) {
      lane.close();
      if (error instanceof HttpFailure && error.code === 'LANE_CLOSED') return interrupted();
      throw error;
    }
  };
}

async function logIn(
  lane: Lane,
  asked: HttpRequest,
  account: WindowsAccount,
  now: () => number,
): Promise<Opened<Lane>> {
  const negotiate = negotiateMessage();
  const first = await knock(lane, withField(asked, `NTLM ${negotiate.toString('base64')}`));
  // Something in between lets everybody in, or has trouble of its own: the request itself will tell.
  if (first.status !== 401) return { ok: true, way: lane };
  if (!offers(first, 'ntlm')) return notOffered('NTLM', first);
  const token = /(?:^|,)\s*NTLM\s+([\w+/]+=*)/i.exec(first.headers['www-authenticate'] ?? '')?.[1];
  const challenge = token === undefined ? undefined : readChallenge(Buffer.from(token, 'base64'));
  if (challenge === undefined) {
    return unusable('NTLM_NO_CHALLENGE', 'The server offers NTLM but answers its first message with no challenge.');
  }
  const certificate = lane.certificate();
  const binding = certificate && channelBinding(certificate);
  const authenticate = authenticateMessage({
    account,
    negotiate,
    challenge,
    host: new URL(asked.url).hostname,
    ...(binding && { channelBinding: binding }),
    nonce: randomBytes(8),
    now: now(),
  });
  const second = await knock(lane, withField(asked, `NTLM ${authenticate.toString('base64')}`));
  if (second.status !== 401) return { ok: true, way: lane };
  return refusedLogin(
    "Either user name, domain or password is wrong, or the account is locked or disabled; or Extended Protection refuses: it does where something between here and Exchange ends TLS (a proxy, a load balancer with another certificate). Look at the failed logon (event 4625) in the server's security log: status 0xC000006D with sub status 0xC000006A is a password, 0xC0000234 a locked account, 0xC000035B Extended Protection. For the last, go past what ends TLS, give it Exchange's certificate, or set exchange.login: basic.",
  );
}

/** Asks for the description of the service: it changes nothing, and any answer but 401 means that the login is taken. */
function question(url: string, userAgent: string): HttpRequest {
  return { method: 'GET', url, headers: { accept: '*/*', 'user-agent': userAgent } };
}

/** Reads the answer to its end, so that the connection can go on. A failure says that no mail was sent, whatever its stage. */
async function knock(way: Pick<Http, 'request'>, request: HttpRequest): Promise<HttpResponse> {
  try {
    const answer = await way.request(request);
    await answer.text(PAGE);
    return answer;
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    throw new HttpFailure('connect', error.code, error.message, { cause: error });
  }
}

function offers(answer: HttpResponse, scheme: string): boolean {
  return new RegExp(`(?:^|,)\\s*${scheme}(?:\\s|,|$)`, 'i').test(answer.headers['www-authenticate'] ?? '');
}

function refusedLogin(advice: string): TokenFailure {
  const wait =
    'It is tried again in a quarter of an hour, so that the account is not locked; SIGHUP, which reads passwordFile again, tries at once.';
  return { ok: false, cause: REFUSED, misconfigured: true, advice: `Exchange refuses the login. ${advice} ${wait}` };
}

const REFUSED = 'LOGIN_REFUSED';

function notOffered(wanted: string, answer: HttpResponse): TokenFailure {
  const schemes = (answer.headers['www-authenticate'] ?? '')
    .split(',')
    .map((one) => /^\s*([A-Za-z]+)(?:\s|$)/.exec(one)?.[1])
    .filter((one) => one !== undefined);
  const offered = schemes.length === 0 ? 'nothing' : [...new Set(schemes)].join(', ');
  const other = wanted === 'NTLM' ? 'basic' : 'ntlm';
  return unusable(
    'LOGIN_NOT_OFFERED',
    `The server does not offer ${wanted} at this address (it offers ${offered}). Turn it on for the EWS virtual directory (Set-WebServicesVirtualDirectory), set exchange.login: ${other} if that is offered, or check ewsUrl.`,
  );
}

function interrupted(): TokenFailure {
  return unusable(
    'NTLM_INTERRUPTED',
    'The connection was closed in the middle of the NTLM login, which needs one that stays. Something between here and Exchange does not keep connections: go past it, or set exchange.login: basic.',
  );
}

/** The login was taken, and the request after it was not. */
function notKept(login: AccountOptions['login']): TokenFailure {
  return login === 'ntlm'
    ? unusable(
        'NTLM_NOT_KEPT',
        'Exchange takes the login and refuses the next request of the same connection. Something in between shares connections among clients, or the site asks for a login with each request (authPersistSingleRequest): mend that, or set exchange.login: basic.',
      )
    : unusable('LOGIN_NOT_KEPT', 'Exchange takes the login and refuses the request that follows it. Look at its log.');
}

function unusable(cause: string, advice: string): TokenFailure {
  return { ok: false, cause, misconfigured: true, advice };
}

const ABORTED: TokenFailure = {
  ok: false,
  cause: 'ABORTED',
  misconfigured: false,
  advice: 'The login was given up.',
};

/** Lets logins through one at a time, and none for a while after one was refused. */
class Gate {
  readonly #now: () => number;
  #turn: Promise<unknown> = Promise.resolve();
  #refusal: { readonly failure: TokenFailure; readonly until: number } | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  through<T>(open: () => Promise<Opened<T>>, signal: AbortSignal): Promise<Opened<T>> {
    const mine = this.#turn.then(() => this.#enter(open, signal));
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #enter<T>(open: () => Promise<Opened<T>>, signal: AbortSignal): Promise<Opened<T>> {
    if (signal.aborted) return ABORTED;
    const wait = (this.#refusal?.until ?? 0) - this.#now();
    if (this.#refusal && wait > 0) return { ...this.#refusal.failure, retryAfter: wait };
    const opened = await open();
    this.#refusal = undefined;
    if (opened.ok || opened.cause !== REFUSED) return opened;
    this.#refusal = { failure: opened, until: this.#now() + REFUSED_PAUSE };
    return { ...opened, retryAfter: REFUSED_PAUSE };
  }

  forget(): void {
    this.#refusal = undefined;
  }
}
