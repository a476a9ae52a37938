/**
 * Signed and encrypted messages through to the readers' mailboxes: whatever becomes of the header, the body is the same
 * octets. The messages in sealed/ are real ones, made with OpenSSL (S/MIME) and GnuPG (PGP/MIME) over a part that holds what
 * careless software changes: blanks at line ends, dots, eight bits, long lines, an attached message with a Bcc of its own.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { splitHeader } from '../../src/mail/header.ts';
import type { Site } from './sandbox-site.ts';
import { bodyAt, openSite, outgoing, SENDER } from './sandbox-site.ts';

const ALICE = 'alice@contoso.test';
const BOB = 'bob@contoso.test';
const CAROL = 'carol@contoso.test';

const KINDS = ['smime-signed', 'smime-opaque', 'smime-encrypted', 'pgp-signed', 'pgp-encrypted'] as const;
const ENVELOPES = [
  { what: 'as the header says, and blind', recipients: [ALICE, 'list@elsewhere.test', BOB] },
  { what: 'fewer than the header says', recipients: [ALICE] },
  { what: 'blind alone', recipients: [BOB, CAROL] },
];
const sha256 = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');
const load = (name: string): Buffer => readFileSync(new URL(`sealed/${name}.eml`, import.meta.url));

describe.each(['replace', 'add'] as const)('where recipient properties %s those of the MIME', (mode) => {
  let site: Site;
  beforeAll(async () => void (site = await openSite(mode, [ALICE, BOB, CAROL])));
  afterAll(async () => await site.close());

  /** Every copy of the message sent last, the sender's own too. */
  const copies = (recipients: readonly string[]): Buffer[] => [
    ...recipients
      .filter((address) => address.endsWith('@contoso.test'))
      .map((address) => site.sandbox.mailbox(address).inbox.at(-1)?.mime ?? Buffer.alloc(0)),
    site.sandbox.mailbox(SENDER).sentitems.at(-1)?.mime ?? Buffer.alloc(0),
  ];

  describe.each(KINDS)('%s', (kind) => {
    const message = load(kind);
    it.each(ENVELOPES)('$what', async ({ recipients }) => {
      const body = sha256(message.subarray(bodyAt(message)));
      const type = contentType(message);
      for (const chunk of [1, 77, 4096, 100_000]) {
        const status = await site.transport.deliver(outgoing(message, recipients, chunk), new AbortController().signal);
        expect(status).toMatchObject({ outcome: 'relayed' });
        const { to, cc, bcc } = site.sandbox.arrived().at(-1) ?? { to: [], cc: [], bcc: [] };
        expect([...to, ...cc, ...bcc].toSorted()).toEqual(recipients.toSorted());
        for (const copy of copies(recipients)) {
          expect(sha256(copy.subarray(bodyAt(copy)))).toBe(body);
          // Boundary and protocol stand there: without it nobody finds the parts.
          expect(contentType(copy)).toBe(type);
          expect(copy.subarray(0, bodyAt(copy)).includes(BOB)).toBe(false);
        }
      }
    });
  });

  it.each([
    ['smime-signed', '----=_smime'],
    ['pgp-signed', 'pgp-sig'],
  ])('the part that was signed is still what %s was made over', async (kind, boundary) => {
    await site.transport.deliver(outgoing(load(kind), [ALICE]), new AbortController().signal);
    const [copy = Buffer.alloc(0)] = copies([ALICE]);
    const [part, signature] = partsOf(copy, boundary);
    expect(sha256(part)).toBe(SIGNED_PART);
    expect(part.equals(partsOf(load(kind), boundary)[0])).toBe(true);
    expect(signature.equals(partsOf(load(kind), boundary)[1])).toBe(true);
  });

  it('an S/MIME signature names the digest of the part as it arrives', async () => {
    await site.transport.deliver(outgoing(load('smime-signed'), [ALICE, BOB]), new AbortController().signal);
    for (const copy of copies([ALICE, BOB])) {
      const [part, signature] = partsOf(copy, '----=_smime');
      // The attribute messageDigest of CMS (RFC 5652 section 11.2) holds it as it is.
      const cms = Buffer.from(signature.subarray(bodyAt(signature)).toString('latin1'), 'base64');
      expect(cms.includes(Buffer.from(sha256(part), 'hex'))).toBe(true);
    }
  });

  it('megabytes of any octets', async () => {
    const body = randomBytes(3_000_001);
    const message = Buffer.concat([
      Buffer.from(`To: ${ALICE}, gone@elsewhere.test\r\nContent-Type: application/pkcs7-mime\r\n\r\n`),
      body,
    ]);
    await site.transport.deliver(outgoing(message, [ALICE, BOB], 65_537), new AbortController().signal);
    for (const copy of copies([ALICE, BOB])) expect(sha256(copy.subarray(bodyAt(copy)))).toBe(sha256(body));
  });
});

/** Of the part that both signatures were made over. */
const SIGNED_PART = '58bec3193a4f2c9d664147e1a43030dec79b727a4aede4f782ee24300a9a1a68';

function contentType(message: Buffer): string | undefined {
  return splitHeader(message)
    .find(({ name }) => name === 'content-type')
    ?.raw.toString('latin1');
}

/** The two parts of a multipart/signed, by RFC 2046 section 5.1.1: the line end before a boundary is the boundary's. */
function partsOf(message: Buffer, boundary: string): [Buffer, Buffer] {
  const delimiter = `--${boundary}`;
  const first = message.indexOf(`${delimiter}\r\n`) + delimiter.length + 2;
  const end = message.indexOf(`\r\n${delimiter}\r\n`, first);
  const last = message.indexOf(`\r\n${delimiter}--`, end);
  return [message.subarray(first, end), message.subarray(end + delimiter.length + 4, last)];
}
