/**
 * The operator's pages: who may ask, and what is answered. docs/security.md says against what it holds: strangers,
 * guessed logins, pages of others that act for a logged-in operator, and mail that wants to be more than text.
 *
 * Promises: nothing but the login page and its style is shown to whoever is not logged in; what changes something needs a
 * form of this very session; every act and every look at a message's content is an event with the operator's name. Trouble
 * with the store passes through as a SpoolError, anything else is an answer.
 */
import { unreachable } from '../mail/status.ts';
import { actAsked, actPosted } from './acts.ts';
import type { Answer, Asked } from './answer.ts';
import { page, seeOther, sentence } from './answer.ts';
import type { ApiParts } from './api.ts';
import { api, refusal } from './api.ts';
import { isFromOwnPage, isKnownHost, isLedByOthers, ownPath } from './gate.ts';
import { framed, loginPage, noticePage } from './layout.ts';
import type { Frame } from './layout.ts';
import type { Login, Outcome } from './login.ts';
import type { Look } from './look.ts';
import type { Piece } from './markup.ts';
import { fieldsIn, listAddress, askedFor, questionIn } from './message-query.ts';
import { PAGE_SIZE, messagesPage } from './messages.ts';
import type { Operations } from './operations.ts';
import { overviewPage, overviewParts } from './overview.ts';
import type { PickupRow } from './pickups-page.ts';
import { pickupsPage } from './pickups-page.ts';
import type { Content } from './preview.ts';
import { contentOf, htmlAnswer, previewPage } from './preview.ts';
import { SCRIPT } from './script.ts';
import type { Flash, Session, Sessions } from './sessions.ts';
import { isSame } from './sessions.ts';
import { storyPage } from './story.ts';
import { ICON, STYLE } from './style.ts';

/** Which gateway looks: this one, that on another machine, or for now none. Undefined: there is no such pickup. */
export type LookedInto = 'here' | { readonly host: string } | 'nobody' | undefined;

export interface WebOptions {
  readonly login: Login;
  readonly sessions: Sessions;
  readonly operations: Operations;
  readonly look: () => Promise<Look>;
  /** Where mail can be moved to, pickups included. */
  readonly routes: readonly string[];
  readonly pickups: readonly string[];
  /** Has that mailbox looked into at once. Rejects as the store does. */
  readonly lookInto: (pickup: string) => Promise<LookedInto>;
  /** Reads the configuration anew, and takes it into use or says why not. */
  readonly reload: (
    by: string,
  ) => Promise<
    | { readonly ok: true; readonly changed: readonly string[]; readonly needsRestart: readonly string[] }
    | { readonly ok: false; readonly faults: readonly string[] }
  >;
  /** Names it may be reached by, beside addresses and localhost. */
  readonly hosts: readonly string[];
  /** This gateway's name. */
  readonly gateway: string;
  readonly version: string;
  /** Of this gateway, epoch milliseconds. */
  readonly startedAt: number;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}

/** Messages taken apart at the same time: each may cost a core for a second. */
const MOST_PREVIEWS = 2;
/** Messages of a session of which it is remembered that they were looked at. */
const MOST_VIEWED = 200;
/** Of a pickup's waiting mail, what is counted. */
const MOST_COUNTED = 500;

const ASSETS: ReadonlyMap<string, readonly [type: string, body: string]> = new Map([
  ['/assets/console.css', ['text/css; charset=utf-8', STYLE]],
  ['/assets/console.js', ['text/javascript; charset=utf-8', SCRIPT]],
  ['/assets/icon.svg', ['image/svg+xml', ICON]],
]);

export function createWeb(options: WebOptions): (asked: Asked) => Promise<Answer> {
  const web = new Web(options);
  return (asked) => web.answer(asked);
}

/** Somebody who is logged in, and what is asked. */
interface Visit {
  readonly asked: Asked;
  readonly session: Session;
}

class Web {
  readonly #options: WebOptions;
  readonly #names: ReadonlySet<string>;
  readonly #now: () => number;
  readonly #api: ApiParts;
  #previews = 0;

  constructor(options: WebOptions) {
    this.#options = options;
    this.#names = new Set([options.gateway, ...options.hosts].map((name) => name.toLowerCase()));
    this.#now = options.now ?? Date.now;
    this.#api = { ...options, now: this.#now };
  }

  async answer(asked: Asked): Promise<Answer> {
    const { method, path } = asked;
    if (!isKnownHost(asked.headers.host, this.#names)) {
      return sentence(421, 'The console is not known by this name: add it to console.hosts of the configuration.');
    }
    if (method !== 'GET' && method !== 'HEAD' && method !== 'POST')
      return sentence(405, 'only GET, HEAD and POST', { allow: 'GET, HEAD, POST' });
    const asset = ASSETS.get(path);
    if (asset !== undefined) return { status: 200, type: asset[0], body: asset[1] };
    if (path.startsWith('/api/')) return await this.#apiAnswer(asked);
    if (method === 'POST') return await this.#post(asked);
    if (path === '/login') return this.#loginForm(asked);
    const session = this.#session(asked, path !== '/live');
    if (session === undefined) {
      if (path === '/live') return sentence(401, 'log in');
      const { query } = asked;
      const next = query.size === 0 ? path : `${path}?${query}`;
      return seeOther(path === '/' ? '/login' : `/login?${new URLSearchParams({ next: ownPath(next, '/') })}`);
    }
    return await this.#get({ asked, session });
  }

  // --- who it is ---------------------------------------------------------------------------------------------------

  /** A cookie that no other site and no other port in clear can set, where there is TLS. */
  #cookieName({ isSecure }: Asked): string {
    return isSecure ? '__Host-smtp2exchange' : 'smtp2exchange';
  }

  #sessionId(asked: Asked): string | undefined {
    const name = `${this.#cookieName(asked)}=`;
    const pairs = (asked.headers.cookie ?? '').split(';').map((pair) => pair.trim());
    return pairs.find((pair) => pair.startsWith(name))?.slice(name.length);
  }

  #session(asked: Asked, isUse = true): Session | undefined {
    const id = this.#sessionId(asked);
    return id === undefined || id === '' ? undefined : this.#options.sessions.find(id, isUse);
  }

  #cookie(asked: Asked, value: string): string {
    // Behind a proxy that does TLS, the browser says so itself.
    const isSecure = asked.isSecure || asked.headers.origin?.startsWith('https:') === true;
    const ends = value === '' ? '; Max-Age=0' : '';
    return `${this.#cookieName(asked)}=${value}; Path=/; HttpOnly; SameSite=Strict${isSecure ? '; Secure' : ''}${ends}`;
  }

  #loginForm(asked: Asked, problem?: string, status = 200, user?: string, next = asked.query.get('next')): Answer {
    const { login, gateway } = this.#options;
    const { hasUsers, hasToken } = login;
    const more = { ...(problem === undefined ? {} : { problem }), ...(user === undefined ? {} : { user }) };
    return page(loginPage({ hasUsers, hasToken, gateway, next: ownPath(next, '/'), ...more }), status);
  }

  async #logIn(asked: Asked, form: URLSearchParams): Promise<Answer> {
    const { login, sessions } = this.#options;
    const user = form.get('user') ?? '';
    const secret = form.get('secret') ?? '';
    const outcome =
      user === '' && login.hasToken
        ? await login.byToken(asked.peer, secret)
        : await login.byPassword(asked.peer, user, secret);
    const next = form.get('next');
    if (outcome.outcome !== 'in') {
      const { status, text } = this.#refused(outcome);
      return this.#loginForm(asked, text, status, user.slice(0, 256), next);
    }
    // A new id for every login: one that somebody else has planted is worth nothing.
    const before = this.#sessionId(asked);
    if (before !== undefined) sessions.end(before);
    const id = sessions.open(outcome.user);
    return seeOther(ownPath(next, '/'), { 'set-cookie': this.#cookie(asked, id) });
  }

  #refused(outcome: Exclude<Outcome, { outcome: 'in' }>): { readonly status: number; readonly text: string } {
    switch (outcome.outcome) {
      case 'wrong':
        return { status: 403, text: 'That is not right. Try again.' };
      case 'banned': {
        const minutes = Math.max(1, Math.ceil((outcome.until - this.#now()) / 60_000));
        return { status: 429, text: `Too many failed logins from this address: wait ${minutes} min.` };
      }
      case 'busy':
        return { status: 429, text: 'Too many logins at the same time: wait a moment.' };
      default:
        return unreachable(outcome);
    }
  }

  // --- what changes something --------------------------------------------------------------------------------------

  async #post(asked: Asked): Promise<Answer> {
    const { path } = asked;
    if (!['/login', '/logout', '/acts', '/pickups', '/reload'].includes(path)) return this.#notFound();
    if (!isFromOwnPage(asked, this.#names))
      return page(noticePage('Not allowed', 'The form was sent from a page of another site.'), 403);
    if (!/^application\/x-www-form-urlencoded\b/i.test(asked.headers['content-type'] ?? ''))
      return sentence(415, 'the body has to be a form');
    const body = await asked.body();
    if (body === undefined) return sentence(413, 'the form is too long');
    const form = new URLSearchParams(body);
    if (path === '/login') return await this.#logIn(asked, form);
    const session = this.#session(asked);
    if (session === undefined) return seeOther('/login');
    if (!isSame(form.get('formToken') ?? '', session.formToken))
      return page(
        noticePage('Not done', 'The form is of another login, or was not made here. Load the page anew.'),
        403,
      );
    if (path === '/logout') {
      const id = this.#sessionId(asked);
      if (id !== undefined) this.#options.sessions.end(id);
      return seeOther('/login', { 'set-cookie': this.#cookie(asked, ''), 'clear-site-data': '"cache"' });
    }
    if (path === '/pickups') return await this.#lookInto(session, form.get('pickup') ?? '');
    if (path === '/reload') return await this.#reload(session);
    return await actPosted(form, session, this.#options);
  }

  async #reload(session: Session): Promise<Answer> {
    const reloaded = await this.#options.reload(session.user);
    session.flash = reloaded.ok
      ? { kind: 'done', text: takenWords(reloaded) }
      : { kind: 'failed', text: `The configuration stays as it was. ${reloaded.faults.slice(0, 3).join(' ')}` };
    return seeOther('/');
  }

  async #lookInto(session: Session, pickup: string): Promise<Answer> {
    const { pickups, lookInto } = this.#options;
    session.flash = lookWords(pickup, pickups.includes(pickup) ? await lookInto(pickup) : undefined);
    return seeOther('/pickups');
  }

  // --- pages -------------------------------------------------------------------------------------------------------

  async #get(visit: Visit): Promise<Answer> {
    const { asked, session } = visit;
    const { path, query } = asked;
    const { operations, look } = this.#options;
    switch (path) {
      case '/': {
        const seen = await look();
        const many = seen.problems.length;
        return this.#framed(
          visit,
          `${many > 0 ? `(${many}) ` : ''}Overview`,
          'overview',
          overviewPage(seen, session.formToken),
        );
      }
      case '/live':
        return page(overviewParts(await look()));
      case '/messages':
        return await this.#messages(visit);
      case '/pickups':
        return this.#framed(visit, 'Pickups', 'pickups', await this.#pickups(session));
      case '/acts': {
        const { title, content } = await actAsked(query, session, this.#options);
        return this.#framed(visit, title, 'messages', content);
      }
      default:
    }
    const [, id = '', part = ''] = /^\/messages\/([\w-]{1,64})(\/preview|\/html|\/message\.eml)?$/.exec(path) ?? [];
    if (id === '') return this.#notFound();
    if (part !== '' && isLedByOthers(asked))
      return page(noticePage('Not here', 'A page of another site led here. Go on from the page of the message.'), 403);
    if (part === '/message.eml') return await this.#download(id, session);
    const story = await operations.show(id);
    if (story === undefined)
      return page(
        noticePage(
          'Not there',
          'There is no such message. It may have ended, and its history be over (spool.retention).',
        ),
        404,
      );
    if (part === '') return this.#framed(visit, 'Message', 'messages', storyPage(story, this.#now()));
    const title = story.header?.subject ?? '';
    return await this.#content(visit, id, part === '/html', title === '' ? id : title);
  }

  #notFound(): Answer {
    return page(noticePage('Not there', 'The console has no such page.'), 404);
  }

  #framed({ session }: Visit, title: string, section: Frame['section'], content: Piece): Answer {
    const { gateway, version, startedAt, pickups } = this.#options;
    const { flash, user, formToken } = session;
    delete session.flash;
    const frame = {
      title,
      section,
      user,
      formToken,
      gateway,
      version,
      startedAt,
      now: this.#now(),
      hasPickups: pickups.length > 0,
      ...(flash === undefined ? {} : { flash }),
    };
    return page(framed(frame, content));
  }

  async #messages(visit: Visit): Promise<Answer> {
    const { query } = visit.asked;
    const { operations, routes } = this.#options;
    const { filter, words, problems } = askedFor(query, this.#now());
    const found = await operations.list({ ...filter, limit: PAGE_SIZE + 1 });
    const items = found.slice(0, PAGE_SIZE);
    const last = items.at(-1);
    const at = filter.after;
    const list = {
      question: questionIn(query),
      fields: fieldsIn(query),
      words,
      problems,
      items,
      here: listAddress(query, at),
      ...(found.length > PAGE_SIZE && last !== undefined ? { older: listAddress(query, last.id) } : {}),
      ...(at === undefined ? {} : { newest: listAddress(query) }),
      routes,
      now: this.#now(),
    };
    return this.#framed(visit, 'Messages', 'messages', messagesPage(list));
  }

  async #pickups({ formToken }: Session): Promise<Piece> {
    const { operations, look, pickups } = this.#options;
    const { board, now } = await look();
    const rows = await Promise.all(
      pickups.map(async (name): Promise<PickupRow> => {
        const waiting = await operations.list({ route: name, states: ['queued', 'sending'], limit: MOST_COUNTED + 1 });
        const state = board.pickups.get(name) ?? { taken: 0, refused: 0, skipped: 0, quarantined: 0 };
        return {
          name,
          state,
          waiting: { count: Math.min(waiting.length, MOST_COUNTED), more: waiting.length > MOST_COUNTED },
        };
      }),
    );
    return pickupsPage(rows, formToken, now);
  }

  async #download(id: string, { user }: Session): Promise<Answer> {
    const body = await this.#options.operations.read(id, user);
    if (typeof body === 'string') return gone(body);
    return {
      status: 200,
      type: 'message/rfc822',
      body: body,
      headers: { 'content-disposition': `attachment; filename="${id}.eml"` },
    };
  }

  async #content(visit: Visit, id: string, isHtml: boolean, title: string): Promise<Answer> {
    const { session, asked } = visit;
    // In a frame of ours, or by itself as the browser's address bar asks; never as a part of anything else.
    const target = asked.headers['sec-fetch-dest'];
    if (isHtml && target !== undefined && target !== 'iframe')
      return page(noticePage('Not here', 'The HTML of a message is shown on the page of its content only.'), 403);
    if (this.#previews >= MOST_PREVIEWS)
      return page(noticePage('Busy', 'Other messages are being taken apart: load the page again in a moment.'), 503, {
        'retry-after': '2',
      });
    this.#previews++;
    let content: Content;
    try {
      const isKnown = isHtml && session.viewed.has(id);
      const body = await this.#options.operations.read(id, session.user, isKnown ? 'again' : 'view');
      if (typeof body === 'string') return gone(body);
      for (const oldest of session.viewed) {
        if (session.viewed.size < MOST_VIEWED) break;
        session.viewed.delete(oldest);
      }
      session.viewed.add(id);
      content = await contentOf(body.octets);
    } finally {
      this.#previews--;
    }
    if (isHtml) return htmlAnswer(content);
    return this.#framed(visit, 'Content', 'messages', previewPage(id, title, content));
  }

  // --- for programs ------------------------------------------------------------------------------------------------

  async #apiAnswer(asked: Asked): Promise<Answer> {
    const [, bearer] = /^Bearer +(\S+)$/i.exec(asked.headers.authorization ?? '') ?? [];
    if (bearer !== undefined) {
      const outcome = await this.#options.login.byToken(asked.peer, bearer, false);
      if (outcome.outcome === 'in') return await api(asked, outcome.user, this.#api);
      const { status, text } = this.#refused(outcome);
      return refusal(status === 403 ? 401 : status, text, { 'www-authenticate': 'Bearer' });
    }
    const session = this.#session(asked);
    if (session === undefined)
      return refusal(401, 'log in, or send the token: Authorization: Bearer ...', { 'www-authenticate': 'Bearer' });
    if (asked.method === 'POST') {
      const given = asked.headers['x-form-token'];
      if (!isFromOwnPage(asked, this.#names) || typeof given !== 'string' || !isSame(given, session.formToken))
        return refusal(403, 'the field X-Form-Token is not that of this session');
    }
    return await api(asked, session.user, this.#api);
  }
}

function lookWords(pickup: string, looked: LookedInto): Flash {
  if (looked === undefined) return { kind: 'failed', text: 'There is no such pickup.' };
  if (looked === 'here') return { kind: 'done', text: `${pickup} is being looked into.` };
  const text =
    looked === 'nobody'
      ? `No gateway picks up for ${pickup} at this moment. The one that takes over looks at once.`
      : `${pickup} is being looked into by the gateway on ${looked.host}.`;
  return { kind: 'done', text };
}

function gone(why: 'absent' | 'gone'): Answer {
  return why === 'absent'
    ? page(noticePage('Not there', 'There is no such message.'), 404)
    : page(noticePage('Gone', 'Its content is gone: it is kept only until a message is delivered or ended.'), 410);
}

function takenWords({
  changed,
  needsRestart,
}: {
  readonly changed: readonly string[];
  readonly needsRestart: readonly string[];
}): string {
  if (changed.length === 0) return 'The configuration was read anew: nothing has changed.';
  const late = needsRestart.length === 0 ? '' : ` Only a restart takes ${needsRestart.join(', ')} into use.`;
  return `The configuration was read anew. Changed: ${changed.join(', ')}.${late}`;
}
