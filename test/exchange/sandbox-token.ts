/** Tokens of the sandbox's own application, as the gateway gets them. */
import type { Http } from '../../src/exchange/http.ts';
import { createTokenProvider } from '../../src/exchange/token.ts';
import type { TokenProvider } from '../../src/exchange/token.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';

const AUDIENCES = { exchange: 'https://outlook.office365.com', graph: 'https://graph.microsoft.com' } as const;

export function tokenOf(sandbox: Sandbox, http: Http, account: keyof typeof AUDIENCES): TokenProvider {
  return createTokenProvider({
    account,
    authority: sandbox.authority,
    clientId: sandbox.clientId,
    credential: { kind: 'secret', secret: sandbox.clientSecret },
    scope: `${AUDIENCES[account]}/.default`,
    http,
    report: () => {},
  });
}
