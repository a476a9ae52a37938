/**
 * Where Microsoft's clouds are. Tokens of one are worth nothing in another.
 * Hosts as in Microsoft's deployment pages for Graph and Exchange Online and the Connect-ExchangeOnline reference.
 */

export const CLOUDS = {
  /** Also GCC. */
  worldwide: { identity: 'login.microsoftonline.com', exchange: 'outlook.office365.com' },
  gccHigh: { identity: 'login.microsoftonline.us', exchange: 'outlook.office365.us' },
  dod: { identity: 'login.microsoftonline.us', exchange: 'webmail.apps.mil' },
  /** Run by 21Vianet. */
  china: { identity: 'login.partner.microsoftonline.cn', exchange: 'partner.outlook.cn' },
} as const satisfies Readonly<Record<string, { readonly identity: string; readonly exchange: string }>>;

/** Of Microsoft's, or Exchange on servers of one's own. */
export type Cloud = MicrosoftCloud | 'onPremises';
export type MicrosoftCloud = keyof typeof CLOUDS;

export interface CloudAddresses {
  /** https://host/tenant */
  readonly authority: string;
  readonly ewsUrl: string;
  readonly scope: string;
}

export function addressesOf(cloud: MicrosoftCloud, tenantId: string): CloudAddresses {
  const { identity, exchange } = CLOUDS[cloud];
  return {
    authority: `https://${identity}/${tenantId}`,
    ewsUrl: `https://${exchange}/EWS/Exchange.asmx`,
    scope: `https://${exchange}/.default`,
  };
}
