/** Extended properties of an item: those its maker set, and those that every store computes (MS-OXPROPS). */
import type { Item } from './store.ts';
import type { ExtendedProperty } from './submission.ts';
import { isSameProperty } from './submission.ts';

type Path = ExtendedProperty['path'];

/** By tag: the types it can be asked for with, and its value; undefined: the item has none. */
const COMPUTED: Readonly<Record<number, { readonly types: readonly string[]; value(item: Item): string | undefined }>> =
  {
    // PidTagMessageClass
    0x001a: { types: ['String'], value: ({ itemClass }) => itemClass },
    // PidTagSubject
    0x0037: { types: ['String'], value: ({ subject }) => subject },
    // PidTagTransportMessageHeaders
    0x007d: { types: ['String'], value: ({ header }) => header },
    // PidTagMessageSize
    0x0e08: { types: ['Integer', 'Long'], value: ({ mime }) => String(mime.length) },
    // PidTagInternetMessageId
    0x1035: { types: ['String'], value: ({ messageId }) => (messageId === '' ? undefined : messageId) },
    // PidTagSearchKey
    0x300b: { types: ['Binary'], value: ({ searchKey }) => searchKey },
    // PidTagSenderSmtpAddress
    0x5d01: { types: ['String'], value: ({ sender, from }) => sender || from || undefined },
    // PidTagSentRepresentingSmtpAddress
    0x5d02: { types: ['String'], value: ({ from }) => (from === '' ? undefined : from) },
  };

/** What the item has under the path. @returns undefined: nothing, or of another type */
export function propertyOf(item: Item, path: Path): ExtendedProperty | undefined {
  const own = item.extended.find((one) => isSameProperty(one.path, path));
  if (own) return own;
  const tag = path['PropertyTag'];
  const computed = tag === undefined ? undefined : COMPUTED[Number(tag)];
  const value = computed?.types.includes(path['PropertyType'] ?? '') ? computed.value(item) : undefined;
  return value === undefined ? undefined : { path, values: [value] };
}
