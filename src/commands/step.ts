/** What a step of a set-up is, and the facts that a walk-through is made of. Types, but for the names of the steps. */
import type { Cloud } from '../config/clouds.ts';

/** Stable: `check` and documents name steps by them. */
export const STEP_IDS = [
  'register-app',
  'credential',
  'connect',
  'service-principal',
  'service-account',
  'group',
  'scope',
  'roles',
  'impersonation',
  'api-permissions',
  'mailbox-permissions',
  'access-policy',
  'ews-allow-list',
  'ews-directory',
  'mailbox-switches',
  'send-as',
  'test-access',
  'check',
] as const;
export type StepId = (typeof STEP_IDS)[number];

export interface Step {
  readonly id: StepId;
  readonly title: string;
  /** Why it is needed, and how long it takes to show. One paragraph of Markdown. */
  readonly why: string;
  /** Markdown. */
  readonly do: string;
  /** Commands, with the variables that the step `connect` sets. They may be run again. */
  readonly powershell?: string;
  /** How it is taken back, in words. */
  readonly undo?: string;
  readonly undoPowershell?: string;
}

export interface SetupFacts {
  readonly cloud: Cloud;
  readonly transport: 'ews' | 'graph' | 'auto' | 'smtp';
  /** How the app is let in: by roles that are scoped to a group, or by permissions for every mailbox of the tenant. */
  readonly path: 'rbac' | 'consent';
  readonly credential: 'certificate' | 'secret';
  /** Absent: not known yet. */
  readonly tenantId?: string;
  readonly clientId?: string;
  /** Of the enterprise application. */
  readonly objectId?: string;
  /** Of the group, the scope and the app at Exchange; at most 40 characters. */
  readonly name: string;
  /** Those that send, the first for all that no rule gives to another. At least one. */
  readonly mailboxes: readonly string[];
  /** Those that are picked up from. */
  readonly pickups: readonly string[];
  /** How those are read, where it is known to be otherwise than mail is sent. */
  readonly reads?: readonly ('ews' | 'graph' | 'auto')[];
  /** One that the gateway is not to reach. */
  readonly outside?: string;
  /** The public half, as a file, and what identifies it. */
  readonly certificate?: CertificateFacts;
  /** File that the client secret, or the password of the account, is in. */
  readonly secretFile: string;
  /** On-premises: who logs in, and how. */
  readonly account?: { readonly username: string; readonly login: 'ntlm' | 'basic' };
  /** As it is named to other commands. */
  readonly configFile: string;
}

export interface CertificateFacts {
  readonly file: string;
  /** SHA-1, hexadecimal: what Entra ID shows as thumbprint. */
  readonly thumbprint: string;
  readonly sha256: string;
  readonly notAfter: Date;
}
