/**
 * Why an HTTP request got no usable answer, in words for the person who has to act, and how far the request had come:
 * the one thing that decides whether it may be sent again. Never holds a path, a query, a header or a login.
 */
import { offeredInWords } from '../tls/offered.ts';
import type { OfferedCertificate } from '../tls/offered.ts';

/**
 * connect: nothing of the request was handed to a socket. sending: a part was, never its last octet, so the server cannot
 * have acted on it. sent: the last octet was handed over, the server may have acted. receiving: an answer had begun.
 */
export type HttpStage = 'connect' | 'sending' | 'sent' | 'receiving';

export class HttpFailure extends Error {
  override readonly name = 'HttpFailure';
  readonly stage: HttpStage;
  /** Stable word: ECONNREFUSED, UND_ERR_HEADERS_TIMEOUT, SELF_SIGNED_CERT_IN_CHAIN, PROXY_407, ABORTED, TOO_LARGE ... */
  readonly code: string;
  constructor(stage: HttpStage, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.stage = stage;
    this.code = code;
  }
}

/** What the connector throws; wrapped so that the dispatcher ends every waiting request instead of connecting for ever. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  readonly code: string;
  readonly certificate: OfferedCertificate | undefined;
  /** Host and port of the proxy the trouble is with. */
  readonly proxy: string | undefined;
  constructor(
    code: string,
    message: string,
    detail: { certificate?: OfferedCertificate | undefined; proxy?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: detail.cause });
    this.code = code;
    this.certificate = detail.certificate;
    this.proxy = detail.proxy;
  }
}

/** Node, OpenSSL and undici put the code on the error, on its cause, or on the first of several addresses tried. */
export function codeOf(error: unknown): string {
  for (let at = error, depth = 0; at instanceof Error && depth < 4; depth++) {
    const code = (at as NodeJS.ErrnoException).code;
    if (typeof code === 'string' && code !== '') return code;
    if (at.name === 'HTTPParserError') return 'HPE_INVALID';
    at = at instanceof AggregateError ? at.errors[0] : at.cause;
  }
  return 'ERROR';
}

/** `where` is host and port of the server the request was for. */
export function describe(error: unknown, stage: HttpStage, where: string): HttpFailure {
  if (error instanceof HttpFailure) return error;
  const code = codeOf(error);
  const offered = error instanceof ConnectError ? error.certificate : undefined;
  const proxy = error instanceof ConnectError ? error.proxy : undefined;
  const peer = proxy === undefined ? where : `the proxy ${proxy}`;
  const told = stage === 'connect' ? beforeSending(code, peer, where, offered) : afterConnecting(code, stage, where);
  return new HttpFailure(stage, code, told ?? `the request to ${where} failed (${code})`, { cause: error });
}

function beforeSending(
  code: string,
  peer: string,
  where: string,
  offered: OfferedCertificate | undefined,
): string | undefined {
  const shown = offeredInWords(offered);
  switch (code) {
    case 'ENOTFOUND':
      return `the name of ${peer} is not known to DNS (ENOTFOUND); check its spelling, this machine's DNS, or whether a proxy is needed`;
    case 'EAI_AGAIN':
      return `DNS did not answer for ${peer} (EAI_AGAIN); check this machine's DNS servers`;
    case 'ECONNREFUSED':
      return `${peer} refused the connection (ECONNREFUSED); nothing listens there or a firewall refuses it`;
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
      return `there is no way to ${peer} (${code}); check the network, or whether a proxy is needed`;
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return `${peer} did not take the connection in time (${code}); a firewall may drop it, or a proxy may be needed`;
    case 'ECONNRESET':
    case 'EPIPE':
      return `${peer} closed the connection before the request (${code}); something in between may forbid it`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_UNTRUSTED':
    case 'CERT_SIGNATURE_FAILURE':
      return `the certificate of ${peer} is not trusted (${code})${shown}; if that issuer is right (a company proxy, an own server), set caFile to its CA certificate in PEM`;
    case 'CERT_HAS_EXPIRED':
      return `the certificate of ${peer} has expired${shown}; renew it there, or check this machine's clock`;
    case 'CERT_NOT_YET_VALID':
      return `the certificate of ${peer} is not valid yet${shown}; check this machine's clock`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `the certificate of ${peer} is for another name${shown}; use the name it was made for`;
    case 'ERR_SSL_UNSUPPORTED_PROTOCOL':
    case 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION':
    case 'ERR_SSL_VERSION_TOO_LOW':
      return `${peer} knows no TLS as new as this gateway wants (${code}); update that server, or lower exchange.minTls if nothing else helps`;
    case 'LANE_CLOSED':
      return `the connection to ${peer} that was logged in has ended (${code}); another is made`;
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return `${peer} does not speak TLS as expected (${code}); check the port and whether the address should begin with http://`;
    case 'PROXY_407':
      return `${peer} wants a login or refuses the one given (407); put user and password into the proxy's URL`;
    case 'PROXY_TIMEOUT':
      return `${peer} did not open the way to ${where} in time; check the proxy`;
    case 'PROXY_CLOSED':
      return `${peer} closed the connection without opening the way to ${where}; check that it is an HTTP proxy and the port is right`;
    default:
      if (code.startsWith('PROXY_'))
        return `${peer} refused to open the way to ${where} (status ${code.slice(6)}); allow it there`;
      if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || code.includes('CERT'))
        return `TLS with ${peer} failed (${code})${shown}`;
      return undefined;
  }
}

function afterConnecting(code: string, stage: Exclude<HttpStage, 'connect'>, where: string): string | undefined {
  const state =
    stage === 'sending'
      ? 'before the request was sent whole'
      : stage === 'sent'
        ? 'after the request was sent, without an answer'
        : 'in the middle of its answer';
  switch (code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
      return stage === 'sending' ? `${where} stopped reading the request` : `${where} gave no answer in time`;
    case 'UND_ERR_BODY_TIMEOUT':
      return `${where} fell silent ${state}`;
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
      return `${where} closed the connection ${state} (${code})`;
    default:
      if (code.startsWith('HPE_')) return `${where} answered something that is not HTTP (${code})`;
      if (code.startsWith('Z_')) return `${where} sent a damaged compressed answer (${code})`;
      return undefined;
  }
}
