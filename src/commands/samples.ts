/** The mails that the demo sends: what a PBX, a monitoring system and a scanner send. Made here, always the same octets. */
import { crc32, deflateSync } from 'node:zlib';
import type { Mail } from '../smtp/client.ts';

export interface SamplePeople {
  readonly sender: string;
  readonly alice: string;
  readonly bob: string;
  readonly carol: string;
}

export function sampleMails({ sender, alice, bob, carol }: SamplePeople): readonly Mail[] {
  return [
    {
      from: `PBX <${sender}>`,
      to: [alice],
      cc: [bob],
      bcc: [carol],
      subject: 'Missed call from +49 30 5550100',
      text: 'You missed a call at 07:34.\r\n\r\nThe blind recipient of this mail must be in no header.\r\n',
    },
    {
      from: `Monitoring <${sender}>`,
      to: [bob],
      subject: 'Grüße: 1 warning',
      text: 'Disk 91 % full.',
      html: '<p>Disk <b>91 %</b> full. <img src="cid:chart" alt="chart"></p>',
      attachments: [{ filename: 'chart.png', content: picture(96, 48), contentType: 'image/png', cid: 'chart' }],
    },
    {
      from: `Scanner 2nd floor <${sender}>`,
      to: [alice],
      subject: 'Scan_0001',
      text: 'Please find the scan attached.',
      attachments: [{ filename: 'Scan_0001.pdf', content: scan(2_180, 2_400), contentType: 'application/pdf' }],
    },
  ];
}

/** What a user mails to the fax mailbox: a page each as TIFF and as PDF. */
export function sampleFax({ alice, fax }: { readonly alice: string; readonly fax: string }, number: string): Mail {
  return {
    from: `Alice <${alice}>`,
    to: [fax],
    subject: `Fax to ${number}`,
    text: 'Two documents, one page each.',
    attachments: [
      { filename: 'Order 4711.tif', content: facsimile(864, 1_100), contentType: 'image/tiff' },
      { filename: 'Drawing.pdf', content: scan(218, 240), contentType: 'application/pdf' },
    ],
  };
}

/** A greyscale pixel that looks like grain, from its place alone. */
function grain(x: number, y: number): number {
  const noise = Math.imul(x * 73_856_093, 19_349_663) ^ Math.imul(y, 83_492_791);
  return (noise >>> 13) & 0xff;
}

/** A PNG (ISO 15948): a truecolour gradient. */
function picture(width: number, height: number): Buffer {
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0, at = 0; y < height; y++) {
    at++; // filter type 0
    for (let x = 0; x < width; x++) {
      rows[at++] = Math.round((255 * x) / width);
      rows[at++] = Math.round((255 * y) / height);
      rows[at++] = 0x80;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const frame = Buffer.alloc(4);
    const check = Buffer.alloc(4);
    frame.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([frame, body, check]);
  };
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** A TIFF of one bilevel page without compression, little-endian (TIFF 6.0 section 3). */
function facsimile(width: number, height: number): Buffer {
  const row = Math.ceil(width / 8);
  const pixels = Buffer.alloc(row * height);
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < row; x++) pixels[at++] = y % 24 < 4 ? grain(x, y) : 0;
  const header = Buffer.from('II*\0\0\0\0\0', 'latin1');
  header.writeUInt32LE(header.length + pixels.length, 4);
  const LONG = 4;
  const fields: readonly (readonly [tag: number, value: number])[] = [
    [256, width],
    [257, height],
    [258, 1], // bits a sample
    [259, 1], // no compression
    [262, 0], // 0 is white
    [273, header.length], // where the one strip is
    [277, 1],
    [278, height],
    [279, pixels.length],
  ];
  const directory = Buffer.alloc(2 + fields.length * 12 + 4);
  directory.writeUInt16LE(fields.length, 0);
  fields.forEach(([tag, value], index) => {
    const at = 2 + index * 12;
    directory.writeUInt16LE(tag, at);
    directory.writeUInt16LE(LONG, at + 2);
    directory.writeUInt32LE(1, at + 4);
    directory.writeUInt32LE(value, at + 8);
  });
  return Buffer.concat([header, pixels, directory]);
}

/** A PDF of one page with one uncompressed greyscale image, as a plain scanner makes it (ISO 32000-1). */
function scan(width: number, height: number): Buffer {
  const pixels = Buffer.alloc(width * height);
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++) pixels[at++] = grain(x, y);
  const drawing = Buffer.from('q 595 0 0 842 0 0 cm /Scan Do Q');
  const objects = [
    [Buffer.from('<< /Type /Catalog /Pages 2 0 R >>')],
    [Buffer.from('<< /Type /Pages /Kids [3 0 R] /Count 1 >>')],
    [
      Buffer.from(
        '<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /XObject << /Scan 5 0 R >> >> >>',
      ),
    ],
    [Buffer.from(`<< /Length ${drawing.length} >>\nstream\n`), drawing, Buffer.from('\nendstream')],
    [
      Buffer.from(
        `<< /Type /XObject /Subtype /Image /Width ${width} /Height ${height} /ColorSpace /DeviceGray /BitsPerComponent 8 /Length ${pixels.length} >>\nstream\n`,
      ),
      pixels,
      Buffer.from('\nendstream'),
    ],
  ];
  const parts: Buffer[] = [Buffer.from('%PDF-1.4\n')];
  let size = 9;
  const add = (part: Buffer): void => {
    parts.push(part);
    size += part.length;
  };
  const places: number[] = [];
  for (const [index, object] of objects.entries()) {
    places.push(size);
    add(Buffer.from(`${index + 1} 0 obj\n`));
    for (const part of object) add(part);
    add(Buffer.from('\nendobj\n'));
  }
  const table = size;
  const rows = places.map((place) => `${String(place).padStart(10, '0')} 00000 n \n`);
  add(Buffer.from(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${rows.join('')}`));
  add(Buffer.from(`trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${table}\n%%EOF\n`));
  return Buffer.concat(parts);
}
