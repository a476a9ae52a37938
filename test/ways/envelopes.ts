/** Envelopes and headers that say different things: whoever is in the envelope gets the message once, nobody else does. */
import { ANN, BOB, CID, SENDER } from './site.ts';

export interface EnvelopeCase {
  readonly name: string;
  /** Header fields, each with its line end. */
  readonly header: string;
  readonly envelope: readonly string[];
  readonly reversePath?: string;
  /** Recipients of the envelope whom the sender shows to nobody. */
  readonly blind?: readonly string[];
}

const OUT = 'out@elsewhere.test';
const MANY = Array.from({ length: 499 }, (_, n) => `person-${n}@elsewhere.test`);

const CASES: readonly EnvelopeCase[] = [
  { name: 'one in To', header: `To: ${ANN}\r\n`, envelope: [ANN] },
  { name: 'To and Cc', header: `To: ${ANN}\r\nCc: Bob <${BOB}>, ${OUT}\r\n`, envelope: [ANN, BOB, OUT] },
  { name: 'a Bcc field', header: `To: ${ANN}\r\nBcc: ${BOB}, ${CID}\r\n`, envelope: [ANN, BOB], blind: [BOB, CID] },
  { name: 'nobody in the header', header: '', envelope: [ANN, BOB], blind: [ANN, BOB] },
  { name: 'undisclosed-recipients', header: 'To: undisclosed-recipients:;\r\n', envelope: [ANN, OUT], blind: [ANN, OUT] },
  { name: 'one of many in the header', header: `To: ${ANN}, ${BOB}\r\nCc: ${CID}\r\n`, envelope: [BOB] },
  { name: 'a group', header: `To: Team: Ann <${ANN}>, ${BOB};\r\nCc: ${CID}\r\n`, envelope: [ANN, CID] },
  { name: 'twice, in different case', header: `To: ${ANN}, ${ANN.toUpperCase()}\r\nCc: ${ANN}\r\n`, envelope: [ANN, ANN] },
  { name: 'the null reverse-path', header: `To: ${ANN}\r\n`, envelope: [ANN, BOB], reversePath: '', blind: [BOB] },
  { name: 'five hundred', header: `To: ${ANN}\r\nCc: ${MANY.slice(0, 250).join(',\r\n ')}\r\n`, envelope: [ANN, ...MANY], blind: MANY.slice(250) },
  { name: 'resent', header: `To: ${BOB}\r\nResent-To: ${ANN}\r\nResent-Bcc: ${CID}\r\n`, envelope: [ANN, CID], blind: [CID] },
  {
    name: 'trace fields that name a blind recipient',
    header: `Delivered-To: ${BOB}\r\nReceived: from a by b for <${BOB}>; Sat, 29 Feb 2020 12:00:00 +0100\r\nX-Envelope-To: ${BOB}\r\nTo: ${ANN}\r\n`,
    envelope: [ANN, BOB],
    blind: [BOB],
  },
  { name: 'fax numbers and quotes', header: `To: <+39055@fax.test>, "a, b"@elsewhere.test\r\n`, envelope: ['+39055@fax.test', '"a, b"@elsewhere.test', ANN], blind: [ANN] },
  { name: 'domains beyond ASCII', header: `To: d@b\u00fccher.test\r\n`, envelope: ['d@b\u00fccher.test', ANN], blind: [ANN] },
]; // prettier-ignore

/** Bob and Cid everywhere in the header, and in the envelope or not. */
function everyPlace(): EnvelopeCase[] {
  const places = ['to', 'cc', 'bcc', ''].flatMap((field) => [true, false].map((isIn) => ({ field, isIn })));
  return places.flatMap((bob) =>
    places.map((cid) => {
      const field = (name: string): string => {
        const people = [
          ...(name === 'to' ? [ANN] : []),
          ...(bob.field === name ? [BOB] : []),
          ...(cid.field === name ? [CID] : []),
        ];
        return people.length === 0 ? '' : `${name}: ${people.join(', ')}\r\n`;
      };
      const isHidden = ({ field: where }: { readonly field: string }): boolean => where === 'bcc' || where === '';
      const said = ({ field: where, isIn }: (typeof places)[number]): string =>
        `${where === '' ? 'nowhere' : where}${isIn ? ', in the envelope' : ''}`;
      return {
        name: `Bob ${said(bob)}; Cid ${said(cid)}`,
        header: field('to') + field('cc') + field('bcc'),
        envelope: [ANN, ...(bob.isIn ? [BOB] : []), ...(cid.isIn ? [CID] : [])],
        blind: [...(isHidden(bob) ? [BOB] : []), ...(isHidden(cid) ? [CID] : [])],
      };
    }),
  );
}

export const ENVELOPES: readonly EnvelopeCase[] = [...CASES, ...everyPlace()];

export function messageOf({ header }: EnvelopeCase): Buffer {
  return Buffer.from(`From: ${SENDER}\r\n${header}Subject: envelope\r\n\r\nTo: inner@part.test\r\n`);
}
