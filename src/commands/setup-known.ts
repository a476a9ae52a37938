/** What a configuration already answers of the questions of `setup`, and `reads`, which none asks. Pure; never fails. */
import type { Config } from '../config/config.ts';
import type { Given } from './setup-answers.ts';

export function givenIn({ exchange, senders, pickups, routes }: Config): Given {
  const { cloud, transport, credential, tenantId, clientId, ewsUrl } = exchange;
  const [first] = routes;
  const isOurs = (route: string | undefined): boolean => route === undefined || route === first?.name;
  const sending = [senders.mailbox, ...senders.rules.flatMap(({ mailbox, route }) => (isOurs(route) ? [mailbox] : []))];
  const picked = pickups.flatMap(({ mailbox, route }) => (isOurs(route) ? [mailbox] : []));
  const given: Given = new Map([
    ['cloud', cloud],
    ['mailbox', [...new Set(sending)].join(',')],
    ['pickup', [...new Set(picked)].join(',')],
  ]);
  const ways = pickups.filter(({ route }) => isOurs(route)).map((one) => one.transport);
  if (ways.length > 0) given.set('reads', [...new Set(ways)].join(','));
  if (cloud === 'onPremises') {
    given.set('ews-url', ewsUrl);
    if (credential.kind === 'account') {
      const { username, domain, login } = credential;
      given.set('username', domain === '' ? username : `${domain}\\${username}`);
      given.set('login', login);
    }
    return given;
  }
  given.set('transport', transport);
  given.set('credential', credential.kind === 'secret' ? 'secret' : 'certificate');
  if (tenantId !== '') given.set('tenant', tenantId);
  if (clientId !== '') given.set('client', clientId);
  return given;
}
