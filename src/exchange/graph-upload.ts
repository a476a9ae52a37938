/**
 * One attachment through an upload session, slice by slice (learn.microsoft.com/graph/outlook-large-attachments). A break
 * of the connection costs the slice under way at most: the session says where it wants to go on. One slice is held in
 * memory. Nothing is sent by it, so whatever fails can be done again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { UploadSession } from '@microsoft/microsoft-graph-types';
import type { Delayed, Failed } from '../mail/status.ts';
import { harmless, waitOf, withoutAnswer } from './call.ts';
import { objectIn, troubleOf } from './graph-call.ts';
import { HttpFailure } from './http.ts';
import type { Http, HttpResponse, StreamedBody } from './http.ts';
import { retryAfterOf } from '../mail/retry-after.ts';

export interface UploadOptions {
  readonly http: Http;
  /** Carries its own authorization; Graph wants no token beside it. */
  readonly uploadUrl: string;
  /** Octets, exact. */
  readonly size: number;
  readonly userAgent: string;
  /** Octets of a slice, a multiple of 320 KiB, below 4 MB; default 2.5 MiB. */
  readonly slice?: number;
  readonly now?: () => number;
  /** Milliseconds before the first return to a session after a break; it doubles. Default 500. */
  readonly pauseFrom?: number;
}

/** `gone`: the session has ended without a word; whether the attachment is there has to be looked up. */
export type UploadResult = { readonly ok: true } | { readonly ok: false; readonly status: Delayed | Failed | 'gone' };

/** What slices are multiples of, octets. */
export const SLICE_UNIT = 320 * 1024;
const SLICE = 8 * SLICE_UNIT;
const PIECE = 64 * 1024;
const ANSWER_LIMIT = 64 * 1024;
/** Breaks in a row without any progress, after which the attempt ends. */
const MAX_BREAKS = 6;
const MAX_PAUSE = 10_000;
/** A server that wants a longer wait is left alone: the queue waits instead. */
const MAX_WAIT = 30_000;

export async function upload(
  content: AsyncIterable<Uint8Array>,
  options: UploadOptions,
  signal: AbortSignal,
): Promise<UploadResult> {
  const slice = Buffer.allocUnsafe(Math.min(options.slice ?? SLICE, options.size));
  let filled = 0;
  let at = 0;
  for await (const chunk of content) {
    for (let taken = 0; taken < chunk.length;) {
      const part = chunk.subarray(taken, taken + slice.length - filled);
      if (at + filled + part.length > options.size) throw new Error('an attachment is longer than it was measured');
      slice.set(part, filled);
      filled += part.length;
      taken += part.length;
      if (filled < slice.length || at + filled === options.size) continue;
      const failure = await put(slice, at, options, signal);
      if (failure !== undefined) return { ok: false, status: failure };
      at += filled;
      filled = 0;
    }
  }
  if (at + filled !== options.size) throw new Error('an attachment is shorter than it was measured');
  const failure = await put(slice.subarray(0, filled), at, options, signal);
  return failure === undefined ? { ok: true } : { ok: false, status: failure };
}

/** Until the server has this slice. @returns why it has not */
async function put(
  slice: Uint8Array,
  at: number,
  options: UploadOptions,
  signal: AbortSignal,
): Promise<Delayed | Failed | 'gone' | undefined> {
  const end = at + slice.length;
  let from = at;
  let wait = options.pauseFrom ?? 500;
  for (let breaks = 0; ; breaks++) {
    const answer = await send(slice.subarray(from - at), from, options, signal);
    // An answer to the last octet is the whole answer, whatever the session says of itself afterwards.
    if (answer.kind === 'created') return undefined;
    let next: Answer = answer;
    if (answer.kind === 'trouble') {
      const { status, isFinal, retryAfter } = answer;
      if (isFinal || breaks === MAX_BREAKS || (retryAfter ?? 0) > MAX_WAIT || signal.aborted) return status;
      await pause(Math.max(wait, retryAfter ?? 0), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return status;
      wait = Math.min(wait * 2, MAX_PAUSE);
      next = await ask(options, signal);
    }
    if (next.kind === 'gone') return end === options.size ? 'gone' : lost();
    if (next.kind === 'wants') {
      if (next.from >= end) return undefined;
      if (next.from < at) return lost();
      if (next.from > from) breaks = 0;
      from = next.from;
    }
  }
}

type Answer =
  | { readonly kind: 'created' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'wants'; readonly from: number }
  | {
      readonly kind: 'trouble';
      readonly status: Delayed | Failed;
      /** It would be the same again. */
      readonly isFinal: boolean;
      readonly retryAfter?: number;
    };

async function send(slice: Uint8Array, from: number, options: UploadOptions, signal: AbortSignal): Promise<Answer> {
  return await request(options, signal, {
    method: 'PUT',
    headers: {
      'content-type': 'application/octet-stream',
      'content-range': `bytes ${from}-${from + slice.length - 1}/${options.size}`,
    },
    body: { length: slice.length, open: () => inPieces(slice) },
  });
}

/** Handed over at once, a slice would lie in memory a second time, encrypted. */
async function* inPieces(slice: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < slice.length; at += PIECE) yield slice.subarray(at, at + PIECE);
}

/** Where the session wants to go on. */
async function ask(options: UploadOptions, signal: AbortSignal): Promise<Answer> {
  return await request(options, signal, { method: 'GET', headers: {} });
}

async function request(
  options: UploadOptions,
  signal: AbortSignal,
  what: { readonly method: 'PUT' | 'GET'; readonly headers: Record<string, string>; readonly body?: StreamedBody },
): Promise<Answer> {
  const { http, uploadUrl, userAgent, now = Date.now } = options;
  let response: HttpResponse;
  let text: string;
  try {
    response = await http.request({
      ...what,
      url: uploadUrl,
      headers: { accept: 'application/json', 'user-agent': userAgent, ...what.headers },
      signal,
    });
    if (response.status === 201) {
      response.discard();
      return { kind: 'created' };
    }
    text = await response.text(ANSWER_LIMIT);
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    return { kind: 'trouble', status: harmless(withoutAnswer(error, false, {})), isFinal: error.code === 'ABORTED' };
  }
  const json = objectIn(text);
  if (response.status === 200) {
    const from = nextOf(json, options.size);
    if (from !== undefined) return { kind: 'wants', from };
  }
  if (response.status === 404 || response.status === 410) return { kind: 'gone' };
  const status = harmless(troubleOf(response, json, { now }));
  const retryAfter = waitOf(retryAfterOf(response.headers, now()));
  const passes = response.status >= 500 || response.status === 429 || response.status === 416 || response.status < 300;
  return { kind: 'trouble', status, isFinal: !passes, ...(retryAfter === undefined ? {} : { retryAfter }) };
}

/** `["2097152"]`, `["2097152-"]` or `["2097152-3000000"]`; an empty list: nothing is wanted any more. */
function nextOf(json: UploadSession | undefined, size: number): number | undefined {
  // The attachment endpoint answers with a capital letter, other pages with a small one.
  const ranges = json?.nextExpectedRanges ?? (json as { NextExpectedRanges?: unknown } | undefined)?.NextExpectedRanges;
  if (!Array.isArray(ranges)) return undefined;
  if (ranges.length === 0) return size;
  const [, from] = /^(\d+)(?:-\d*)?$/.exec(String(ranges[0])) ?? [];
  return from === undefined ? undefined : Number(from);
}

function lost(): Delayed {
  return {
    outcome: 'delayed',
    code: '4.3.0',
    reach: 'message',
    capped: true,
    cause: 'upload session lost',
    text: 'The mail server is temporarily unable to take the message',
    reason: 'Graph ended an upload before it was complete; it begins anew with the next try',
  };
}
