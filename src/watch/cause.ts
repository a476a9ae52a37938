/**
 * Makes a `cause` fit for a metric's label: only words of a form that a program makes, and only so many of them. All
 * else is `other`; the log has the full story. Never an address.
 */

export const OTHER = 'other';

/** What our own rooms say where no server and no system has a word for it. */
const WORDS = new Set([
  'MIME not readable',
  'NoError',
  'SOAP fault',
  'bug',
  'change not saved',
  'claimed elsewhere',
  'duty over',
  'draft being sent',
  'draft deleted',
  'fetched',
  'folder not found',
  'found in Sent Items',
  'header too large',
  'internal error',
  'link elsewhere',
  'mark not kept',
  'no SMTP',
  'no SMTPUTF8',
  'refused by rule',
  'sent draft found',
  'sent from its draft',
  'spool closed',
  'spool damaged',
  'spool full',
  'spool io',
  'spool locked',
  'spool newer',
  'spool readOnly',
  'stream ended',
  'too large for Graph',
  'unknown',
  'unreadable MIME',
  'unreadable answer',
  'unusable Message-ID',
  'unusable answer',
  'unusable mailbox',
  'unusable message',
  'unusable recipient',
  'unusable sender',
  'unusable text',
  'upload session lost',
]);

const FORMS = [
  /^Error[A-Z][A-Za-z0-9]{1,60}$/, // ResponseCode of EWS
  /^(?:[A-Z][a-z]{1,15}){2,8}$/, // error.code of Graph: ApplicationThrottled, TooManyRequests
  /^HTTP [1-5]\d\d$/,
  /^SMTP [2-5]\d\d(?: [245]\.\d{1,3}\.\d{1,3})?$/,
  /^[A-Z][A-Z0-9_]{2,50}$/, // ECONNREFUSED, UND_ERR_HEADERS_TIMEOUT, SELF_SIGNED_CERT_IN_CHAIN, ABORTED
  /^AADSTS\d{3,9}$/,
  /^[a-z]{2,20}(?:_[a-z]{2,20}){1,4}$/, // OAuth error (RFC 6749 section 5.2)
];

/** A server can invent codes; each distinct one is a time series for ever. */
const DISTINCT = 100;

/** @returns a function that gives the label of a cause */
export function causeLabels(distinct = DISTINCT): (cause: string) => string {
  const known = new Set<string>();
  return (cause) => {
    if (known.has(cause)) return cause;
    if (known.size >= distinct || !(WORDS.has(cause) || FORMS.some((form) => form.test(cause)))) return OTHER;
    known.add(cause);
    return cause;
  };
}
