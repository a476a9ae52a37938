/**
 * What goes to Graph as JSON, held to Microsoft's own description of it when it is compiled: a field or a value that Graph
 * has not does not compile. Pure; never fails.
 */
import type { AttachmentItem, FileAttachment, MailFolder, Message } from '@microsoft/microsoft-graph-types';

/** Graph wants to be told which kind of attachment it is (OData 4.01, section 4.6.3). */
export type FileBody = FileAttachment & { readonly '@odata.type': '#microsoft.graph.fileAttachment' };
/** Attachments are told by a type of their own. */
export type MessageBody = Omit<Message, 'attachments'>;

export interface GraphBodies {
  readonly message: MessageBody;
  readonly attachment: FileBody;
  readonly sendMail: {
    readonly message: MessageBody & { readonly attachments?: readonly FileBody[] };
    readonly saveToSentItems: boolean;
  };
  readonly folder: MailFolder;
  readonly move: { readonly destinationId: string };
  readonly uploadSession: { readonly AttachmentItem: AttachmentItem };
}

declare const isGraph: unique symbol;
/** Made by graphJson(), so that no request carries anything else. */
export type GraphJson = string & { readonly [isGraph]: true };

/** The compiler looks for unknown fields where they are written out, but not in what a spread brings; here it has to. */
export type Exact<Shape, Given> = Given extends readonly unknown[]
  ? Shape extends readonly (infer One)[]
    ? { [Index in keyof Given]: Exact<NonNullable<One>, Given[Index]> }
    : never
  : Given extends object
    ? { [Key in keyof Given]: Key extends keyof Shape ? Exact<NonNullable<Shape[Key]>, Given[Key]> : never }
    : Given;

/** The value as it is. */
export function exact<Shape>(): <Given>(value: Given & Shape & Exact<Shape, Given>) => Shape {
  return (value) => value;
}

export function graphJson<Kind extends keyof GraphBodies, Given>(
  _kind: Kind,
  value: Given & GraphBodies[Kind] & Exact<GraphBodies[Kind], Given>,
): GraphJson {
  return JSON.stringify(value) as GraphJson;
}
