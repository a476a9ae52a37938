/**
 * What has to be done at Entra ID and Exchange before a gateway may send and pick up, as data: steps with names that do not
 * change. `setup` prints them with the ids of a configuration, `check` names the one that mends a fault, docs/setup.md is
 * made of them. Pure; never fails.
 *
 * Sources: Microsoft's pages for the cmdlets (ExchangePowerShell module), "Role Based Access Control for Applications in
 * Exchange Online", "Authenticate an EWS application by using OAuth". Nothing of it was run against a real tenant.
 */
import type { SetupFacts, Step } from './step.ts';
import { cloudSteps } from './walkthrough-cloud.ts';
import { serverSteps } from './walkthrough-servers.ts';

export { STEP_IDS } from './step.ts';
export type { SetupFacts, Step, StepId } from './step.ts';

/** In the order in which they are done. */
export function steps(facts: SetupFacts): readonly Step[] {
  return facts.cloud === 'onPremises' ? serverSteps(facts) : cloudSteps(facts);
}
