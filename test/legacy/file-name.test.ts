/** Names that senders give, and the files they become. */
import { describe, expect, it } from 'vitest';
import { FileNames, MAX_FILE_NAME, safeFileName } from '../../src/legacy/file-name.ts';

const ROWS: readonly (readonly [given: string, file: string])[] = [
  ['scan.pdf', 'scan.pdf'],
  ['Rechnung Müller.pdf', 'Rechnung Müller.pdf'],
  ['Mu\u0308ller.pdf', 'M\u00fcller.pdf'],
  ['../../etc/passwd', 'passwd'],
  ['..\\..\\windows\\system.ini', 'system.ini'],
  ['C:\\fax\\page.tif', 'page.tif'],
  ['/etc/cron.d/job', 'job'],
  ['folder/', 'attachment.pdf'],
  ['', 'attachment.pdf'],
  ['.', 'attachment.pdf'],
  ['..', 'attachment.pdf'],
  ['...', 'attachment.pdf'],
  ['.bashrc', 'bashrc'],
  ['.tmp-01', 'tmp-01'],
  ['. .hidden', 'hidden'],
  ['trailing. . ', 'trailing'],
  ['-rf', '_-rf'],
  ['CON', '_CON'],
  ['con.txt', '_con.txt'],
  ['Lpt1.tar.gz', '_Lpt1.tar.gz'],
  ['COM¹.pdf', '_COM¹.pdf'],
  ['CONOUT$', '_CONOUT$'],
  ['console.txt', 'console.txt'],
  ['com10.txt', 'com10.txt'],
  ['a:b*c?d"e<f>g|h.pdf', 'a_b_c_d_e_f_g_h.pdf'],
  ['stream.txt:evil.exe', 'stream.txt_evil.exe'],
  ['nul\u0000l.pdf', 'nul_l.pdf'],
  ['two\r\nlines.pdf', 'two__lines.pdf'],
  ['exe\u202efdp.pdf', 'exe_fdp.pdf'],
  ['lone\ud800.pdf', 'lone\ufffd.pdf'],
  ['no\u00a0break.pdf', 'no break.pdf'],
  ['\u200b', 'attachment.pdf'],
];

describe('the name of an attachment', () => {
  it.each(ROWS)('%j becomes %j', (given, file) => {
    expect(safeFileName(given, 'application/pdf')).toBe(file);
    expect(safeFileName(file, 'application/pdf'), 'stays what it is').toBe(file);
  });

  it('is bounded in octets, keeps a short extension and breaks no character', () => {
    const long = safeFileName(`${'ü'.repeat(400)}.pdf`, '');
    expect(Buffer.byteLength(long)).toBe(MAX_FILE_NAME);
    expect(long).toMatch(/^ü+\.pdf$/);
    const faces = safeFileName(`${'😀'.repeat(100)}`, '');
    expect(Buffer.byteLength(faces)).toBe(MAX_FILE_NAME);
    expect(faces.isWellFormed()).toBe(true);
    expect(Buffer.byteLength(safeFileName(`a.${'x'.repeat(300)}`, ''))).toBe(MAX_FILE_NAME);
    expect(safeFileName(`${'a'.repeat(119)}.${'x'.repeat(20)}`, '')).toBe('a'.repeat(119));
  });

  it('has an extension where only the type is known', () => {
    expect(safeFileName('', 'image/tiff')).toBe('attachment.tiff');
    expect(safeFileName('', 'application/octet-stream')).toBe('attachment');
  });

  it('is given once, regardless of case, and not to what stands beside it', () => {
    const names = new FileNames(['message.json']);
    const given = ['a.pdf', 'A.PDF', 'a.pdf', 'a-2.pdf', 'Message.JSON', 'readme', 'README'];
    expect(given.map((name) => names.take(name))).toEqual([
      'a.pdf',
      'A-2.PDF',
      'a-3.pdf',
      'a-2-2.pdf',
      'Message-2.JSON',
      'readme',
      'README-2',
    ]);
    const long = `${'n'.repeat(MAX_FILE_NAME - 4)}.pdf`;
    expect([names.take(long), names.take(long)].map((name) => Buffer.byteLength(name))).toEqual([
      MAX_FILE_NAME,
      MAX_FILE_NAME,
    ]);
  });
});
