/**
 * Where Microsoft's clouds are. Tokens of one are worth nothing in another.
 * Hosts as in Microsoft's deployment pages for Graph and Exchange Online and the Connect-ExchangeOnline reference.
 */

export const CLOUDS = {
  /** Also GCC. */
  worldwide: {
    identity: 'login.microsoftonline.com',
    exchange: 'outlook.office365.com',
    graph: 'graph.microsoft.com',
  },
  gccHigh: { identity: 'login.microsoftonline.us', exchange: 'outlook.office365.us', graph: 'graph.microsoft.us' },
  dod: { identity: 'login.microsoftonline.us', exchange: 'webmail.apps.mil', graph: 'dod-graph.microsoft.us' },
  /** Run by 21Vianet. */
  china: {
    identity: 'login.partner.microsoftonline.cn',
    exchange: 'partner.outlook.cn',
    graph: 'microsoftgraph.chinacloudapi.cn',
  },
} as const satisfies Readonly<
  Record<string, { readonly identity: string; readonly exchange: string; readonly graph: string }>
>;

/** Of Microsoft's, or Exchange on servers of one's own. */
export type Cloud = MicrosoftCloud | 'onPremises';
export type MicrosoftCloud = keyof typeof CLOUDS;

export interface CloudAddresses {
  /** https://host/tenant */
  readonly authority: string;
  readonly ewsUrl: string;
  readonly scope: string;
  /** Without a slash at its end. */
  readonly graphUrl: string;
  /** Graph is another audience: a token for EWS is worth nothing there. */
  readonly graphScope: string;
}

export function addressesOf(cloud: MicrosoftCloud, tenantId: string): CloudAddresses {
  const { identity, exchange, graph } = CLOUDS[cloud];
  return {
    authority: `https://${identity}/${tenantId}`,
    ewsUrl: `https://${exchange}/EWS/Exchange.asmx`,
    scope: `https://${exchange}/.default`,
    graphUrl: `https://${graph}/v1.0`,
    graphScope: `https://${graph}/.default`,
  };
}
