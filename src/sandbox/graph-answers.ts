/** Answers of the sandbox's Graph, and what a request carries as JSON. */
import type { Answer } from './exchange.ts';
import { faultIn } from './graph-fields.ts';
import type { EwsFault } from './submission.ts';

export const JSON_TYPE = 'application/json; charset=utf-8';

export function json(status: number, value: unknown): Answer {
  return { status, body: Buffer.from(JSON.stringify(value)), type: JSON_TYPE };
}

export function nothing(status: number): Answer {
  return { status, body: Buffer.alloc(0), type: JSON_TYPE };
}

export function failure(status: number, code: string, message: string): Answer {
  return json(status, { error: { code, message, innerError: { date: new Date(0).toISOString() } } });
}

export function notFound(): Answer {
  return failure(404, 'ErrorItemNotFound', 'The specified object was not found in the store.');
}

export function of({ code, text }: EwsFault): Answer {
  return failure(code === 'ErrorSendAsDenied' ? 403 : code === 'ErrorMessageSizeExceeded' ? 413 : 400, code, text);
}

export function jsonOf<Shape extends object>(body: Buffer, shape: Parameters<typeof faultIn>[0]): Shape | Answer {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return failure(400, 'UnableToDeserializePostBody', 'Unable to deserialize the post body.');
  }
  const fault = faultIn(shape, value);
  return fault === undefined ? (value as Shape) : failure(400, 'RequestBodyRead', fault);
}
