/** The list of messages as a browser gets it: found by anyone's question, page by page. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../src/console/messages.ts';
import type { Client, Site } from './site.ts';
import { openSite, operator } from './site.ts';

let site: Site;
let client: Client;
const ids = new Map<string, string>();

beforeAll(async () => {
  site = await openSite();
  client = await operator(site);
  const put = async (name: string, from: string, to: readonly string[]): Promise<void> => {
    ids.set(name, await site.put('Subject: x\n\ny\n', { from, to, messageId: `<${name}.1@x>` }));
  };
  await put('a', 'scanner-1@contoso.com', ['Alice@contoso.com']);
  await put('b', 'scanner-2@contoso.com', ['bob@contoso.com']);
  await put('c', 'scanner-2@contoso.com', ['müller@fabrikam.com', '"o\\"q"@fabrikam.com']);
});
afterAll(async () => {
  await site.close();
});

const listed = (text: string): string[] => [...text.matchAll(/id="message-([^"]+)"/g)].map(([, id = '']) => id);

describe('the list', () => {
  it.each([
    ['q=alice', ['a']],
    ['q=ALICE@contoso.com', ['a']],
    ['q=to+bob@contoso.com+today', ['b']],
    ['q=from:scanner-1', ['a']],
    ['q=%3Ca.1@x%3E', ['a']],
    ['q=a.1@x', ['a']],
    ['q=m%C3%BCller', ['c']],
    ['q=M%C3%9CLLER', ['c']],
    ['from=%40contoso.com', ['c', 'b', 'a']],
    ['to=bob&q=alice', []],
    ['state=parked', []],
    ['q=yesterday', []],
    ['q=100%25', []],
    ['q=_lice', []],
    ['from=', ['c', 'b', 'a']],
  ] as const)('%s finds %j', async (query, found) => {
    const { text } = await client.ask(`/messages?${query}`);
    expect(listed(text)).toEqual(found.map((name) => ids.get(name)));
  });

  it('says how it understood, and what it did not', async () => {
    expect((await client.ask('/messages?q=to+bob+parked')).text).toContain(
      '<bdi>to bob</bdi>, <bdi>in state parked</bdi>: none found.',
    );
    expect((await client.ask('/messages?q=state:lost')).text).toContain('There is no state lost');
  });

  it('is paged, newest first, each message once', async () => {
    const many = await Promise.all(
      Array.from({ length: PAGE_SIZE * 2 + 5 }, (_, at) =>
        site.put('Subject: x\n\ny\n', { to: [`person-${at}@contoso.com`] }),
      ),
    );
    const seen: string[] = [];
    for (let path: string | undefined = '/messages?q=person'; path !== undefined;) {
      const { text } = await client.ask(path);
      seen.push(...listed(text));
      path = /href="([^"]+)" id="older"/.exec(text)?.[1]?.replaceAll('&amp;', '&');
    }
    expect(seen).toEqual(many.toSorted().toReversed());
  });
});
