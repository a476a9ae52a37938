/** An operator's orders, as src/mail/spool.ts promises them. */
import type { Operated } from '../mail/spool.ts';
import type { Bodies } from './bodies.ts';
import type { Database, Row } from './database.ts';
import { asked, moved } from './history-words.ts';
import type { Notices } from './notices.ts';
import { laneKey, laneName } from './protocol.ts';
import type { OrderTo } from './protocol.ts';

export class Operator {
  readonly #data: Database;
  readonly #bodies: Bodies;
  readonly #notices: Notices;

  constructor(data: Database, bodies: Bodies, notices: Notices) {
    this.#data = data;
    this.#bodies = bodies;
    this.#notices = notices;
  }

  /** What an operator's order may change, or why it may not. */
  #operable(id: string): Exclude<Operated, 'done'> | Row {
    const row = this.#data.row('SELECT state, doubtful, lane, tells FROM item WHERE id = ?', id);
    if (row === undefined) return 'absent';
    if (row['state'] === 'sending') return 'sending';
    return row['state'] === 'queued' || row['state'] === 'parked' ? row : 'ended';
  }

  retry({ id, by, now }: OrderTo<'retry'>): Operated {
    const row = this.#operable(id);
    if (typeof row === 'string') return row;
    // A doubtful one waits until the server can no longer be working on it; one that is due already keeps its place.
    this.#data.run(
      `UPDATE item SET state = 'queued', parked = NULL, due = CASE WHEN doubtful = 1 THEN max(due, ?2) WHEN state = 'queued' THEN min(due, ?2) ELSE ?2 END WHERE id = ?1`,
      id,
      now,
    );
    this.#data.remember(id, now, 'retried', undefined, asked(by));
    return 'done';
  }

  hold({ id, by, now }: OrderTo<'hold'>): Operated {
    const row = this.#operable(id);
    if (typeof row === 'string') return row;
    if (row['state'] === 'parked') return 'done';
    this.#data.run(`UPDATE item SET state = 'parked', parked = ? WHERE id = ?`, now, id);
    this.#data.remember(id, now, 'held', undefined, asked(by));
    return 'done';
  }

  move({ id, to, by, now }: OrderTo<'move'>): Operated | 'doubtful' {
    const row = this.#operable(id);
    if (typeof row === 'string') return row;
    if (row['doubtful'] === 1) return 'doubtful';
    const from = laneKey(String(row['lane']));
    const lane = { ...from, ...to };
    this.#data.run('UPDATE item SET lane = ? WHERE id = ?', laneName(lane), id);
    this.#data.remember(id, now, 'moved', undefined, asked(by, moved(from, lane)));
    return 'done';
  }

  drop({ id, detail, by, now }: OrderTo<'drop'>): Operated {
    const row = this.#operable(id);
    if (typeof row === 'string') return row;
    this.#data.run(`UPDATE item SET state = 'dropped', ended = ? WHERE id = ?`, now, id);
    this.#data.remember(id, now, 'dropped', undefined, asked(by, detail));
    this.#bodies.notNeeded(id);
    const { tells } = row;
    if (typeof tells === 'string') this.#notices.dropped({ id, tells }, asked(by, detail) ?? '', now);
    return 'done';
  }
}
