/**
 * How requests get in at Exchange: with a token, with a password, over a connection that has logged in. What the ways have
 * in common: a server that refuses a login (401) has not acted on the request, so that a second attempt is safe where a
 * fresh login may help; there is never a third. Of a failure nothing but its advice reaches anybody: no secret is in it.
 */
import type { TokenFailure } from './grant.ts';
import type { Http, HttpRequest, HttpResponse } from './http.ts';
import type { TokenProvider } from './token.ts';

export type Answered =
  /** Also a 401, where no other login is to be had. */
  | { readonly ok: true; readonly response: HttpResponse }
  /** No login: no request that could do anything has been made. */
  | TokenFailure;

export interface Authorizer {
  /**
   * Makes the request, or makes it a second time after a 401: `make` is asked for each anew, without Authorization.
   * Rejects as Http.request does, and with what `make` throws.
   */
  send(make: () => HttpRequest, signal: AbortSignal): Promise<Answered>;
}

/** With an access token (RFC 6750 section 2.1). */
export function bearer({ http, token }: { readonly http: Http; readonly token: TokenProvider }): Authorizer {
  return {
    async send(make, signal) {
      let refused: { readonly token: string; readonly response: HttpResponse } | undefined;
      for (;;) {
        const given = await token.get(signal);
        // The provider has no other token to give: the answer would be the same.
        if (given.ok && given.token === refused?.token) return { ok: true, response: refused.response };
        refused?.response.discard();
        if (!given.ok) return given;
        const response = await http.request(withField(make(), `Bearer ${given.token}`));
        if (response.status !== 401 || refused !== undefined) return { ok: true, response };
        refused = { token: given.token, response };
        token.refuse(given.token);
      }
    },
  };
}

export function withField(request: HttpRequest, authorization: string): HttpRequest {
  return { ...request, headers: { ...request.headers, authorization } };
}
