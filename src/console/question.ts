/**
 * What somebody asks for in one line, as a filter of the spool's list: an address or a part of it, a Message-ID, a spool
 * id, a state, a time in words, fields with a colon. It says in plain words how it was understood, and what was not. A
 * time of day is one of the zone this machine has. Pure; never fails.
 *
 *   where is the mail to fax@contoso.com of this morning?
 *   from:scanner state:parked since yesterday
 */
import type { ItemState } from '../mail/item.ts';
import { ITEM_STATES } from '../mail/item.ts';
import type { ListFilter } from '../mail/spool.ts';

export interface Understood {
  readonly filter: ListFilter;
  /** Parts of one sentence: `to fax@contoso.com`, `arrived today`. Empty: it asks for everything. */
  readonly words: readonly string[];
  /** What could not be made sense of, a sentence each. */
  readonly problems: readonly string[];
}

/** Characters of a question; what is beyond is not read. */
export const QUESTION_LIMIT = 500;
const PIECES = 6;

/** Words of people for states. */
const STATES: ReadonlyMap<string, readonly ItemState[]> = new Map([
  ['queued', ['queued']],
  ['waiting', ['queued', 'sending']],
  ['pending', ['queued', 'sending']],
  ['sending', ['sending']],
  ['parked', ['parked']],
  ['held', ['parked']],
  ['stuck', ['queued', 'parked']],
  ['relayed', ['relayed']],
  ['delivered', ['relayed']],
  ['bounced', ['bounced']],
  ['returned', ['bounced']],
  ['rejected', ['bounced']],
  ['failed', ['bounced', 'parked']],
  ['undelivered', ['queued', 'sending', 'parked', 'bounced', 'dropped']],
  ['dropped', ['dropped']],
  ['discarded', ['dropped']],
]);

/** Of a sentence, what asks for nothing. */
const FILLERS = new Set(
  'a about all an and any anything are arrive arrived at by can check did do does email emails everything find for get got happened has have he her him his i in is it its last list mail mails me message messages messages my not of on our please search see sent she show that the their them there they this to us was we were what when where which who why with you your'.split(
    ' ',
  ),
);

const MINUTE = 60_000;
const DAY = 86_400_000;
const UNITS: ReadonlyMap<string, number> = new Map([
  ['minute', MINUTE],
  ['min', MINUTE],
  ['hour', 60 * MINUTE],
  ['day', DAY],
  ['week', 7 * DAY],
]);
const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

interface Span {
  readonly from: number;
  readonly to?: number;
  readonly words: string;
}

/** @param now epoch milliseconds */
export function understand(question: string, now: number): Understood {
  const reader = new Reader(tokensOf(question.slice(0, QUESTION_LIMIT)), now);
  reader.read();
  return reader.result();
}

/**
 * The same with fields of a form beside the line; an empty one asks for nothing.
 * @param fields names as in the line: `from`, `state`
 */
export function understandForm(
  question: string,
  fields: readonly (readonly [name: string, value: string])[],
  now: number,
): Understood {
  const reader = new Reader(tokensOf(question.slice(0, QUESTION_LIMIT)), now);
  reader.read();
  for (const [name, value] of fields) reader.field(name, value.trim().slice(0, QUESTION_LIMIT));
  return reader.result();
}

/** Words; what stands in quotes is one, also behind a colon. */
function tokensOf(text: string): readonly string[] {
  return [...text.matchAll(/(?:[^\s":]+:)?"[^"]*"|\S+/gu)].map(([token]) => token.replace(/^"(.*)"$/su, '$1'));
}

class Reader {
  readonly #tokens: readonly string[];
  readonly #now: number;
  #at = 0;
  readonly #filter: { -readonly [Key in keyof ListFilter]: ListFilter[Key] } = {};
  readonly #states = new Set<ItemState>();
  readonly #pieces: string[] = [];
  readonly #words: string[] = [];
  readonly #problems: string[] = [];

  constructor(tokens: readonly string[], now: number) {
    this.#tokens = tokens;
    this.#now = now;
  }

  read(): void {
    while (this.#at < this.#tokens.length) this.#one();
  }

  field(name: string, value: string): void {
    if (value !== '') this.#field(name, value);
  }

  result(): Understood {
    const filter = { ...this.#filter };
    const states = ITEM_STATES.filter((state) => this.#states.has(state));
    if (states.length > 0) filter.states = states;
    if (this.#pieces.length > 0) filter.pieces = this.#pieces;
    const words = states.length === 0 ? this.#words : [...this.#words, `in state ${states.join(' or ')}`];
    return { filter, words: [...new Set(words)], problems: this.#problems };
  }

  #one(): void {
    const token = this.#tokens[this.#at] ?? '';
    this.#at++;
    const [, name = '', value = ''] = /^([a-z-]+):(.*)$/isu.exec(token) ?? [];
    if (name !== '' && this.#field(name.toLowerCase(), value.replace(/^"(.*)"$/su, '$1'))) return;
    const bare = bareOf(token);
    const word = bare.toLowerCase();
    if (/^<[^<>\s]+>$/.test(bare)) return this.#messageId(bare);
    if (this.#when(word)) return;
    if (word === 'from' || word === 'to' || word === 'by') return this.#person(word === 'to' ? 'to' : 'from');
    const states = STATES.get(word);
    if (states !== undefined) return this.#state(states);
    if (word === '' || FILLERS.has(word)) return;
    if (/^[0-9a-hjkmnp-tv-z]{16}(?:-\d{1,4})?$/.test(word)) return this.#id(word);
    this.#piece(bare);
  }

  /** `from` and `to` before a time, or before nothing that could be an address, are words like others. */
  #person(which: 'from' | 'to'): void {
    const next = this.#tokens[this.#at];
    if (next === undefined) return;
    const bare = bareOf(next);
    const word = bare.toLowerCase();
    if (FILLERS.has(word) && !bare.includes('@')) return;
    if (this.#spanAt(word, this.#at + 1) !== undefined || /^(?:before|after|since)$/.test(word)) return;
    this.#at++;
    this.#field(which, bare);
  }

  /** @returns whether there is such a field */
  #field(name: string, value: string): boolean {
    switch (name) {
      case 'from':
      case 'sender':
        this.#filter.sender = value === '<>' ? '' : value;
        this.#words.push(value === '<>' || value === '' ? 'without a sender (a notice)' : `from ${value}`);
        return true;
      case 'to':
      case 'recipient':
        if (value === '') return this.#wrong('to: needs an address, or a part of one');
        this.#filter.recipient = value;
        this.#words.push(`to ${value}`);
        return true;
      case 'state': {
        const states = value.split(',').flatMap((word) => STATES.get(word.toLowerCase()) ?? []);
        if (states.length === 0) return this.#wrong(`There is no state ${value}; there are ${ITEM_STATES.join(', ')}`);
        this.#state(states);
        return true;
      }
      case 'route':
        if (value === '') return this.#wrong('route: needs a name');
        this.#filter.route = value;
        this.#words.push(`on route ${value}`);
        return true;
      case 'mailbox':
        if (value === '') return this.#wrong('mailbox: needs an address');
        this.#filter.mailbox = value.toLowerCase();
        this.#words.push(`sent as ${value.toLowerCase()}`);
        return true;
      case 'id':
        if (!/^[\w-]{1,64}$/.test(value)) return this.#wrong(`${value} is no id`);
        this.#id(value.toLowerCase());
        return true;
      case 'message-id':
      case 'messageid':
      case 'msgid':
        if (value === '') return this.#wrong('message-id: needs one');
        this.#messageId(value);
        return true;
      case 'after':
      case 'since':
        return this.#edge(value, 'from');
      case 'before':
      case 'until':
        return this.#edge(value, 'to');
      default:
        return false;
    }
  }

  #wrong(problem: string): true {
    this.#problems.push(problem);
    return true;
  }

  #state(states: readonly ItemState[]): void {
    for (const state of states) this.#states.add(state);
  }

  #id(id: string): void {
    this.#filter.ids = [...(this.#filter.ids ?? []), id];
    this.#words.push(`with the id ${id}`);
  }

  #messageId(id: string): void {
    this.#filter.messageId = id;
    this.#words.push(`with the Message-ID ${id}`);
  }

  #piece(text: string): void {
    if (this.#pieces.length >= PIECES)
      return void this.#wrong(`More than ${PIECES} words to look for: “${text}” is left out`);
    this.#pieces.push(text);
    this.#words.push(`with “${text}” in an address, the Message-ID or the id`);
  }

  /** @returns whether the word begins a time, which is taken then */
  #when(word: string): boolean {
    if (/^(?:since|after|before|until)$/.test(word)) {
      const span = this.#spanAt(bareOf(this.#tokens[this.#at] ?? '').toLowerCase(), this.#at + 1);
      if (span === undefined) return false;
      this.#at += span.taken;
      this.#bound(word === 'since' || word === 'after' ? 'from' : 'to', span.span.from);
      return true;
    }
    const span = this.#spanAt(word, this.#at);
    if (span === undefined) return false;
    this.#at += span.taken - 1;
    const { from, to, words } = span.span;
    this.#filter.arrivedFrom = from;
    if (to !== undefined) this.#filter.arrivedBefore = to;
    this.#words.push(`arrived ${words}`);
    return true;
  }

  #edge(value: string, edge: 'from' | 'to'): boolean {
    const span = this.#span([value.toLowerCase()]);
    if (span === undefined)
      return this.#wrong(`“${value}” is no time: 08:00, yesterday, 2026-11-24 or 2026-11-24T08:00 is one`);
    this.#bound(edge, span.span.from);
    return true;
  }

  #bound(edge: 'from' | 'to', at: number): void {
    if (edge === 'from') this.#filter.arrivedFrom = at;
    else this.#filter.arrivedBefore = at;
    this.#words.push(`arrived ${edge === 'from' ? 'since' : 'before'} ${localMinute(at)}`);
  }

  /** @param rest where the tokens behind the word begin */
  #spanAt(word: string, rest: number): { readonly span: Span; readonly taken: number } | undefined {
    const behind = this.#tokens.slice(rest, rest + 2).map((token) => bareOf(token).toLowerCase());
    return this.#span([word, ...behind]);
  }

  /** The time that the words begin with, and how many of them it takes. */
  #span([first = '', second = '', third = '']: readonly string[]): { span: Span; taken: number } | undefined {
    const now = new Date(this.#now);
    const today = midnight(now, 0);
    const hour = (day: number, at: number): number => midnight(now, day, at);
    const take = (taken: number, from: number, to: number | undefined, words: string) => ({
      span: { from, ...(to === undefined ? {} : { to }), words },
      taken,
    });
    if (first === 'today') return take(1, today, undefined, 'today');
    if (first === 'yesterday') return take(1, midnight(now, -1), today, 'yesterday');
    if (first === 'tonight') return take(1, hour(0, 18), undefined, 'tonight (since 18:00)');
    if (first === 'this') {
      if (second === 'morning') return take(2, today, hour(0, 12), 'this morning (today before 12:00)');
      if (second === 'afternoon') return take(2, hour(0, 12), hour(0, 18), 'this afternoon (12:00 to 18:00)');
      if (second === 'evening') return take(2, hour(0, 18), undefined, 'this evening (since 18:00)');
      if (second === 'week')
        return take(2, midnight(now, -((now.getDay() + 6) % 7)), undefined, 'this week (since Monday)');
    }
    if (first === 'last' || first === 'past') {
      if (second === 'night') return take(2, hour(-1, 18), hour(0, 6), 'last night (18:00 to 06:00)');
      const unit = UNITS.get(second.replace(/s$/, ''));
      if (unit !== undefined) return take(2, this.#now - unit, undefined, `in the last ${second}`);
      const many = UNITS.get(third.replace(/s$/, ''));
      if (/^\d{1,4}$/.test(second) && many !== undefined)
        return take(3, this.#now - Number(second) * many, undefined, `in the last ${second} ${third}`);
    }
    const weekday = WEEKDAYS.indexOf(first);
    if (weekday >= 0) {
      const back = (now.getDay() - weekday + 7) % 7;
      return take(1, midnight(now, -back), midnight(now, -back + 1), `on ${localDay(midnight(now, -back))}`);
    }
    return this.#clock(first, take);
  }

  #clock(
    word: string,
    take: (taken: number, from: number, to: number | undefined, words: string) => { span: Span; taken: number },
  ): { span: Span; taken: number } | undefined {
    const now = new Date(this.#now);
    const [, hours, minutes] = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(word) ?? [];
    if (hours !== undefined) {
      const at = midnight(now, 0, Number(hours), Number(minutes));
      return take(1, at, at + MINUTE, `at ${localMinute(at)}`);
    }
    const [, year, month, day, hour, minute] =
      /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?:t([01]\d|2[0-3]):([0-5]\d))?$/.exec(word) ?? [];
    if (year === undefined) return undefined;
    const date = [Number(year), Number(month) - 1, Number(day)] as const;
    if (hour !== undefined) {
      const at = new Date(...date, Number(hour), Number(minute)).getTime();
      return take(1, at, at + MINUTE, `at ${localMinute(at)}`);
    }
    const from = new Date(...date).getTime();
    return take(1, from, new Date(date[0], date[1], date[2] + 1).getTime(), `on ${localDay(from)}`);
  }
}

/** Without the punctuation of a sentence. */
function bareOf(token: string): string {
  return token.replace(/^[("'„“”‚‘’]+/u, '').replace(/[)"'“”‘’,;?!.]+$/u, '');
}

function midnight(now: Date, days: number, hours = 0, minutes = 0): number {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hours, minutes).getTime();
}

const two = (number: number): string => String(number).padStart(2, '0');

function localDay(time: number): string {
  const date = new Date(time);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function localMinute(time: number): string {
  const date = new Date(time);
  return `${localDay(time)} ${two(date.getHours())}:${two(date.getMinutes())}`;
}
