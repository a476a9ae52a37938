/** How the gateway gets in at an account: tokens of the identity server, or a user name and a password on-premises. */
import type { ExchangeConfig } from '../config/config.ts';
import { accountAuthorizer } from '../exchange/account.ts';
import type { Authorizer } from '../exchange/authorizer.ts';
import { bearer } from '../exchange/authorizer.ts';
import type { HttpWithLanes } from '../exchange/http.ts';
import { createHttp } from '../exchange/http.ts';
import type { TokenProvider } from '../exchange/token.ts';
import { createTokenProvider } from '../exchange/token.ts';
import type { Report } from '../mail/event.ts';
import type { Replace } from './credential.ts';
import { revealed } from './credential.ts';
import { httpOptions } from './http-options.ts';

export interface Login {
  readonly authorizer: Authorizer;
  readonly replace: Replace;
  readonly token?: TokenProvider;
}

export interface LoginParts {
  /** Its name in events and metrics. */
  readonly account: string;
  readonly exchange: ExchangeConfig;
  readonly scope: string;
  readonly http: HttpWithLanes;
  readonly version: string;
  readonly report: Report;
  readonly undo: (() => Promise<void>)[];
}

/** `replace` puts another credential in the place of the one before. */
export function loginAt({ account: name, scope, exchange, http, report, version, undo }: LoginParts): Login {
  const { credential } = exchange;
  if (credential.kind === 'account') {
    const { ewsUrl: url } = exchange;
    const userAgent = `smtp2exchange/${version}`;
    const account = { ...credential, password: credential.password.reveal() };
    const authorizer = accountAuthorizer({ http, url, userAgent, login: credential.login, account });
    const replace: Replace = (next) => {
      if (next.kind === 'account') authorizer.replace({ ...next, password: next.password.reveal() });
      return undefined;
    };
    return { authorizer, replace };
  }
  // The identity of the machine is had from the machine itself, never through a proxy.
  const local = credential.kind === 'managedIdentity' ? createHttp(httpOptions({ ...exchange, proxy: {} })) : http;
  if (local !== http) undo.push(() => local.close());
  const { authority, clientId } = exchange;
  const token = createTokenProvider({
    account: name,
    authority,
    clientId,
    credential: revealed(credential),
    scope,
    http: local,
    report,
  });
  undo.push(async () => token.close());
  const replace: Replace = (next) => (next.kind === 'account' ? undefined : token.replace(revealed(next)));
  return { authorizer: bearer({ http, token }), replace, token };
}
