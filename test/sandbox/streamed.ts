/** The envelopes of a streaming answer, one by one as they come. */
import type { ClientRequest } from 'node:http';
import type { XmlElement } from '../../src/sandbox/xml.ts';
import { readXml } from '../../src/sandbox/xml.ts';

export class Streamed {
  readonly #request: ClientRequest;
  readonly #come: (string[] | 'cut' | undefined)[] = [];
  #wake: (() => void) | undefined;
  #text = '';

  constructor(request: ClientRequest) {
    this.#request = request;
    request.on('error', () => this.#push('cut'));
    request.on('response', (response) => {
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        this.#text += chunk;
        for (;;) {
          const end = this.#text.indexOf('</s:Envelope>');
          if (end < 0) break;
          this.#push(wordsOf(this.#text.slice(0, end + 13)));
          this.#text = this.#text.slice(end + 13);
        }
      });
      response.on('error', () => this.#push('cut'));
      response.on('end', () => this.#push(undefined));
    });
  }

  /** The next envelope's code, events and status. Undefined: the answer has come to its end. */
  async next(): Promise<string[] | 'cut' | undefined> {
    if (this.#come.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#come.shift();
  }

  close(): void {
    this.#request.destroy();
  }

  #push(one: string[] | 'cut' | undefined): void {
    this.#come.push(one);
    this.#wake?.();
  }
}

function wordsOf(envelope: string): string[] {
  const words: string[] = [];
  const walk = ({ name, text, children }: XmlElement): void => {
    if (/^(ResponseCode|ConnectionStatus)$/.test(name)) words.push(text);
    if (name.endsWith('Event')) words.push(name);
    children.forEach(walk);
  };
  const root = readXml(envelope);
  if (typeof root === 'string') throw new Error(`${root}: ${envelope}`);
  walk(root);
  return words;
}
