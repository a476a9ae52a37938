/** A mail that lies in a mailbox, as its server describes it before its octets are fetched. Pure data. */
import type { HeaderField } from './header.ts';

export interface ReceivedMail {
  /** The server's id of the item; may be another one once it is moved. */
  readonly id: string;
  /**
   * PidTagSearchKey (MS-OXPROPS) in base64: stays when the item is moved, and is the same over EWS and over Graph. Absent:
   * the server gives none.
   */
  readonly searchKey?: string;
  /** `IPM.Note`, `IPM.Note.SMIME`, `IPM.Schedule.Meeting.Request`, `REPORT.IPM.Note.NDR`. '' if the server gives none. */
  readonly itemClass: string;
  /** Octets as the server counts them; its MIME may have somewhat more or less. */
  readonly size: number;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
  /** With its angle brackets. */
  readonly messageId?: string;
  readonly subject?: string;
  readonly isRead: boolean;
  /** Address of From, or of Sender where there is no From. Absent: the item names nobody. */
  readonly from?: string;
  /** The fields it came with (PidTagTransportMessageHeaders); MIME made by the server lacks many of them. Empty: none are kept. */
  readonly header: readonly HeaderField[];
  readonly attachments: readonly ReceivedAttachment[];
}

/** As the item's sender named it. */
export interface ReceivedAttachment {
  readonly name?: string;
  /** Lower case, without parameters: `image/tiff`. Absent: none is given. */
  readonly type?: string;
  /** Octets. */
  readonly size: number;
  /** Shown inside the text. */
  readonly isInline: boolean;
}
