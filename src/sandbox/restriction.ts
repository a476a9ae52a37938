/**
 * A Restriction of FindItem as a condition on items. It is made before any item is looked at, so that what the sandbox cannot
 * filter by is refused in an empty folder too.
 */
import { propertyOf } from './item-properties.ts';
import type { Item } from './store.ts';
import { EwsFault } from './submission.ts';
import type { XmlElement } from './xml.ts';
import { child } from './xml.ts';

/** @throws EwsFault for what the sandbox cannot filter by */
export function conditionOf(element: XmlElement): (item: Item) => boolean {
  switch (element.name) {
    case 'And': {
      const parts = element.children.map(conditionOf);
      return (item) => parts.every((holds) => holds(item));
    }
    case 'Or': {
      const parts = element.children.map(conditionOf);
      return (item) => parts.some((holds) => holds(item));
    }
    case 'Not': {
      const parts = element.children.map(conditionOf);
      return (item) => parts.every((holds) => !holds(item));
    }
    case 'IsEqualTo': {
      const [field, against] = element.children;
      const wanted = child(against, 'Constant')?.attributes['Value'];
      if (field === undefined || wanted === undefined)
        throw new EwsFault('ErrorUnsupportedQueryFilter', 'The sandbox compares with constants only.');
      const value = fieldOf(field);
      return (item) => value(item) === wanted;
    }
    default:
      throw new EwsFault('ErrorUnsupportedQueryFilter', `The sandbox cannot filter by ${element.name}.`);
  }
}

function fieldOf({ name, attributes }: XmlElement): (item: Item) => string | undefined {
  if (name === 'ExtendedFieldURI') return (item) => propertyOf(item, attributes)?.values[0];
  switch (attributes['FieldURI']) {
    case 'message:InternetMessageId':
      return ({ messageId }) => messageId;
    case 'message:IsRead':
      return ({ isRead }) => String(isRead);
    case 'item:ItemClass':
      return ({ itemClass }) => itemClass;
    case 'item:Subject':
      return ({ subject }) => subject;
    default:
      throw new EwsFault(
        'ErrorUnsupportedPathForQuery',
        `The sandbox cannot filter by ${attributes['FieldURI'] ?? name}.`,
      );
  }
}
