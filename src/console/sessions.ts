/**
 * Who is logged in to the console. A session's id is chance, known to the browser alone: only its digest is kept, in
 * memory, so that a restart ends all of them. Bounded in number: of too many, the one heard of least recently ends.
 * Never fails.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

export interface SessionRules {
  /** Milliseconds without a request, after which it ends. */
  readonly idle: number;
  /** Milliseconds from its beginning, after which it ends. */
  readonly lasts: number;
  /** At the same time, default 200. */
  readonly most?: number;
  /** Milliseconds since any moment, never set back. */
  readonly steady?: () => number;
}

export interface Session {
  readonly user: string;
  /** Proves that a form came from a page of this session. */
  readonly formToken: string;
  /** Said once, on the next page. */
  flash?: Flash;
  /** Messages whose content was looked at, newest last: each look is audited once. */
  readonly viewed: Set<string>;
}

export interface Flash {
  readonly kind: 'done' | 'failed';
  readonly text: string;
}

export interface Sessions {
  /** @returns its id, for the cookie */
  open(user: string): string;
  /** @param isUse false: a page that refreshes itself does not keep a session alive */
  find(id: string, isUse?: boolean): Session | undefined;
  end(id: string): void;
  readonly size: number;
}

const MOST = 200;
const ID_OCTETS = 32;

interface Kept extends Session {
  readonly openedAt: number;
  usedAt: number;
}

export function createSessions({ idle, lasts, most = MOST, steady = () => performance.now() }: SessionRules): Sessions {
  // In the order of their last use.
  const kept = new Map<string, Kept>();
  const isOver = ({ openedAt, usedAt }: Kept): boolean => steady() - usedAt >= idle || steady() - openedAt >= lasts;
  return {
    open(user) {
      for (const [key, session] of kept) if (isOver(session)) kept.delete(key);
      for (const [key] of kept) {
        if (kept.size < most) break;
        kept.delete(key);
      }
      const id = randomBytes(ID_OCTETS).toString('base64url');
      const now = steady();
      const formToken = randomBytes(ID_OCTETS).toString('base64url');
      kept.set(keyOf(id), { user, formToken, viewed: new Set(), openedAt: now, usedAt: now });
      return id;
    },
    find(id, isUse = true) {
      const key = keyOf(id);
      const session = kept.get(key);
      if (session === undefined) return undefined;
      if (isOver(session)) {
        kept.delete(key);
        return undefined;
      }
      if (isUse) {
        session.usedAt = steady();
        kept.delete(key);
        kept.set(key, session);
      }
      return session;
    },
    end: (id) => void kept.delete(keyOf(id)),
    get size() {
      return kept.size;
    },
  };
}

function keyOf(id: string): string {
  return createHash('sha256').update(id).digest('base64url');
}

/** In a time that does not tell how much of it was right. */
export function isSame(given: string, wanted: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}
