/**
 * Reads the files of a credential anew. What cannot be read or used is a value with a sentence, which holds nothing of
 * their content; the credential before stays good then.
 */
import type { CredentialConfig } from './config.ts';
import { clientSecret } from './entra.ts';
import { readKeyPair, readSecret } from './files.ts';
import type { Value } from './value.ts';
import { bad, good } from './value.ts';

/**
 * Undefined: it has no file, or one that is read at each use anyway.
 * @param account where its settings stand: `exchange`, `routes[0]`
 */
export async function rereadCredential(
  credential: CredentialConfig,
  account: string,
): Promise<Value<CredentialConfig> | undefined> {
  switch (credential.kind) {
    case 'secret': {
      if (credential.file === undefined) return undefined;
      const text = await readSecret('/', credential.file);
      const secret = text.ok ? clientSecret(text.value.reveal()) : text;
      return secret.ok ? good({ ...credential, secret: secret.value }) : of(`${account}.clientSecretFile`, secret);
    }
    case 'account': {
      if (credential.file === undefined) return undefined;
      const password = await readSecret('/', credential.file);
      return password.ok ? good({ ...credential, password: password.value }) : of(`${account}.passwordFile`, password);
    }
    case 'certificate': {
      const read = await readKeyPair('/', credential.files, true);
      if (read.ok) return good({ ...credential, ...read.pair });
      const [first] = read.faults;
      return of(
        `${account}.certificate.${first?.file ?? 'certFile'}`,
        bad(first?.problem ?? 'cannot be used', first?.hint),
      );
    }
    case 'managedIdentity':
    case 'workloadIdentity':
      return undefined;
  }
}

function of<T>(setting: string, read: Value<T>): Value<never> {
  return read.ok ? bad(`${setting} cannot be used`) : bad(`${setting} ${read.problem}`, read.hint);
}
