/** All that is fuzzed; the shares add up to 1. */
import { ANSWER_TARGETS } from './answers.ts';
import { CONFIG_TARGET } from './configuration.ts';
import { COST_TARGET } from './cost.ts';
import { DESTINATION_TARGET } from './destinations.ts';
import { DIALOG_TARGET } from './dialog.ts';
import { HEADER_TARGETS } from './header.ts';
import { POP3_TARGET } from './pop3.ts';
import { RULE_TARGETS } from './rules.ts';
import type { Target } from './target.ts';

export const TARGETS: readonly Target[] = [
  DIALOG_TARGET,
  POP3_TARGET,
  ...HEADER_TARGETS,
  COST_TARGET,
  ...RULE_TARGETS,
  ...ANSWER_TARGETS,
  CONFIG_TARGET,
  DESTINATION_TARGET,
];
