/** What the settings of a certificate demand of each other: two PEM files, or one of PKCS #12. Never fails. */
import type { Path } from './fault.ts';
import type { Context, SoundAccount } from './sound.ts';

export function checkCertificate(
  certificate: SoundAccount['certificate'],
  path: Path,
  { fault, wasGiven }: Context,
): void {
  if (certificate === undefined) return;
  const given = (key: string): boolean => wasGiven([...path, key]);
  if (given('pfxFile')) {
    for (const key of ['certFile', 'keyFile'])
      if (given(key)) fault([...path, key], 'is given, and pfxFile too', 'that holds both; remove one of the two');
    return;
  }
  if (!given('certFile') && !given('keyFile'))
    return fault(path, 'names no file', 'add certFile and keyFile, or pfxFile');
  const need = (key: string, other: string): void => {
    if (!given(key)) fault([...path, key], 'is missing', `${other} needs it; a PKCS #12 file is named in pfxFile`);
  };
  need('certFile', 'keyFile');
  need('keyFile', 'certFile');
}
