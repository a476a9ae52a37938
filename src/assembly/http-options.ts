/** How a server is reached over HTTP, as the configuration of an account has it. */
import type { ExchangeConfig } from '../config/config.ts';
import type { HttpOptions } from '../exchange/http.ts';

export function httpOptions({ ca, proxy, connectTimeout, requestTimeout, minTls }: ExchangeConfig): HttpOptions {
  return {
    minTls,
    connectTimeout,
    headersTimeout: requestTimeout,
    ...(ca === undefined ? {} : { ca }),
    ...(proxy.proxy === undefined ? {} : { proxy: proxy.proxy.reveal() }),
    ...(proxy.httpProxy === undefined ? {} : { httpProxy: proxy.httpProxy.reveal() }),
    ...(proxy.httpsProxy === undefined ? {} : { httpsProxy: proxy.httpsProxy.reveal() }),
    ...(proxy.noProxy === undefined ? {} : { noProxy: proxy.noProxy }),
  };
}
