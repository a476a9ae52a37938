/** Why there is no login at Exchange, in words for the person who has to act. */
import type { NoLogin } from '../mail/login.ts';

export interface TokenFailure extends NoLogin {
  readonly ok: false;
  readonly oauthError?: string;
}
