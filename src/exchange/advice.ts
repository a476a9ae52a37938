/**
 * What to do about a closed door, in plain words: EWS that refuses this gateway, and a token that was refused. Entra ID's AADSTS codes choose the wording only; whether the
 * trouble is ours is read from the OAuth error and the HTTP status, as Microsoft asks (the codes may change).
 * Source: https://learn.microsoft.com/entra/identity-platform/reference-error-codes
 */

export interface AadstsRow {
  readonly codes: readonly number[];
  /** What it means and what to do. */
  readonly advice: string;
}

export const AADSTS: readonly AadstsRow[] = [
  {
    codes: [7000215],
    advice:
      "The client secret is wrong. Paste the secret's Value (shown once, when it is made), not its Secret ID, and check that it belongs to this client id.",
  },
  {
    codes: [7000222],
    advice:
      'The client secret has expired. Make a new one in the app registration (Certificates & secrets), or move to a certificate.',
  },
  {
    codes: [7000218, 900144],
    advice:
      'The request carried no credential, or something in it is empty. Check that the client secret or certificate is set (an environment variable that is missing?).',
  },
  {
    codes: [700016, 700011],
    advice:
      'The application is not known in this tenant. Check client id and tenant id: one of them is wrong, or the app is registered elsewhere.',
  },
  {
    codes: [90002],
    advice:
      'The tenant is not known. Check the tenant id (or domain) for a typo, and that `cloud` names the cloud it lives in.',
  },
  {
    codes: [90038, 900382, 900432],
    advice: 'The tenant lives in another national cloud. Choose the right value for `cloud`.',
  },
  {
    codes: [7000112, 70001, 1000031],
    advice:
      'The application is disabled or not accessible in this tenant. Enable it under Enterprise applications (Enabled for users to sign in).',
  },
  {
    codes: [500011, 50001, 650052, 650057],
    advice:
      'The service asked for is not known to this tenant. The scope is wrong, the app lists no permission for it, or the tenant has no Exchange Online.',
  },
  {
    codes: [65001, 650056, 90094],
    advice:
      'Nobody has consented to the permissions. An administrator has to grant admin consent in the app registration (API permissions).',
  },
  {
    codes: [70011, 1002012, 28002],
    advice:
      "The scope is not valid. It must be the service's address followed by /.default, for example https://outlook.office365.com/.default.",
  },
  {
    codes: [700027, 50012, 700030, 700024],
    advice:
      "The certificate's signature was not accepted. The key is not the certificate's, the certificate is not uploaded to the app registration, or this machine's clock is wrong.",
  },
  {
    codes: [700229, 700211, 700212, 700213],
    advice:
      'The federated credential does not match. Compare issuer, subject and audience with those in the app registration (Federated credentials).',
  },
  {
    codes: [53003, 530032],
    advice:
      "A conditional access policy forbids it. Allow this gateway's outgoing IP address, or take the application out of the policy.",
  },
  {
    codes: [50033, 90006, 90012, 90024, 90033, 90055, 90090, 40010],
    advice: 'Entra ID has trouble of its own. Nothing to do: it is asked again.',
  },
];

/** OAuth errors (RFC 6749 section 5.2 and Entra's own) that no waiting mends. */
const OURS: Readonly<Record<string, string>> = {
  invalid_client: 'The credential was not accepted. Check client id and secret or certificate.',
  unauthorized_client: 'The application may not do this. Check client id, tenant id and that the app is enabled.',
  invalid_request: 'The request was not understood. Check tenant id, client id and scope.',
  invalid_scope: 'The scope is not valid. It must end in /.default.',
  invalid_resource:
    'The service asked for is not known to this tenant. Check `cloud` and that the tenant has Exchange Online.',
  invalid_grant: 'The grant was refused. Check the permissions of the application.',
  unsupported_grant_type: 'The server does not know the client credentials grant. Check `authority`.',
  access_denied: 'Access was denied. Check conditional access policies for workload identities.',
  consent_required: 'An administrator has to grant admin consent to the application.',
  interaction_required:
    'A policy asks for an interactive sign-in, which a service cannot do. Take the application out of the policy.',
};

export interface Refused {
  readonly status: number;
  /** The OAuth error, where the answer had one. */
  readonly error?: string;
  readonly codes: readonly number[];
}

/** Is it our configuration that has to change? Decided by OAuth error and HTTP status alone. */
export function isMisconfigured(refused: Refused): boolean {
  if (refused.status >= 500 || refused.status === 408 || refused.status === 429) return false;
  if (refused.error !== undefined) return Object.hasOwn(OURS, refused.error);
  // No token endpoint where we ask: a wrong authority, or something in between that forbids it.
  return refused.status === 401 || refused.status === 403 || refused.status === 404 || refused.status === 405;
}

export function adviceFor(refused: Refused): string {
  const row = AADSTS.find(({ codes }) => codes.some((code) => refused.codes.includes(code)));
  if (row) return row.advice;
  if (refused.status === 429) return 'Entra ID asks to be called less often. Nothing to do: it is asked again later.';
  if (refused.status >= 500) return 'The identity server has trouble of its own. Nothing to do: it is asked again.';
  const known = refused.error === undefined ? undefined : OURS[refused.error];
  if (known !== undefined) return known;
  if (refused.status >= 400 && refused.error === undefined) {
    return `No token endpoint answers there (HTTP ${refused.status}). Check \`authority\`, tenant id and any proxy in between.`;
  }
  return 'The identity server gave an answer this program does not know. It is asked again.';
}

/** Least likely causes last. Nobody can tell from the answer which it is. */
export const EWS_CLOSED = `Exchange refuses this gateway (403). Check, in this order:
1. EWS is open for the organisation and for this application (needed since October 2026, takes up to 24 hours):
   Get-OrganizationConfig -RetrieveEwsOperationAccessPolicy | fl EwsEnabled,EwsAllowedAppIDs
   Set-OrganizationConfig -EwsEnabled $true -EwsAllowedAppIDs "<existing list>,<client id>"   (it overwrites the list: read it first)
2. EWS is open for the sending mailbox: Get-CASMailbox <mailbox> | fl EwsEnabled ; Set-CASMailbox <mailbox> -EwsEnabled $true
3. The application may act for the mailbox: permission full_access_as_app with admin consent, or the RBAC role "Application EWS.AccessAsApp":
   Test-ServicePrincipalAuthorization -Identity <client id> -Resource <mailbox>
4. The mailbox has no Kiosk, F1 or F3 licence: EWS is closed to those.
5. No list of programs keeps it out (by User-Agent): Get-OrganizationConfig | fl EwsApplicationAccessPolicy,EwsAllowList,EwsBlockList ; Get-CASMailbox <mailbox> | fl EwsApplicationAccessPolicy,EwsAllowList,EwsBlockList
6. Conditional access for workload identities allows the address this gateway calls from.
From April 2027 EWS in Exchange Online is closed for good`;

/** Only what can be pasted into a shell as it is. */
const PLAIN = /^[\w.+@-]+$/;

/** Advice with the names of this request in its commands, so that they can be run as they stand. */
export function withNames(advice: string, names: { readonly mailbox: string; readonly clientId?: string }): string {
  const { mailbox, clientId = '' } = names;
  let filled = advice;
  if (PLAIN.test(mailbox)) filled = filled.replaceAll('<mailbox>', mailbox);
  if (PLAIN.test(clientId)) filled = filled.replaceAll('<client id>', clientId);
  return filled;
}
