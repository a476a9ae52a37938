/** The sandbox's Exchange from outside: who gets in, what is refused and how, what is sent, kept and found. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from './soap-client.ts';
import {
  ALICE,
  all,
  BOB,
  broken,
  CAROL,
  codes,
  createItem,
  distinguished,
  envelope,
  mail,
  message,
  recipients,
  SENDER,
  startTestSandbox,
  whole,
} from './soap-client.ts';
import type { Answer, CreateOptions } from './soap-client.ts';

const ALIAS = 'alerts@contoso.com';
const SALES = 'sales@contoso.com';
const LIMIT = 300_000;

let clock = Date.now();
let client: Client;

beforeAll(async () => {
  client = await startTestSandbox({
    mailboxes: [
      { address: SENDER, aliases: [ALIAS], sendAs: [SALES], maxSendSize: 100_000 },
      ...[ALICE, BOB, CAROL].map((address) => ({ address })),
    ],
    apps: [
      { clientId: 'scoped', clientSecret: 'right', roles: [] },
      { clientId: 'unscoped', clientSecret: 'right', roles: ['Mail.Send'] },
    ],
    scopes: { scoped: ['Alice@Contoso.com'] },
    maxRequestSize: LIMIT,
    now: () => clock,
  });
});
afterAll(async () => await client.sandbox.close());
afterEach(async () => {
  clock = Date.now();
  client.forgetToken();
  await client.reset();
});

const inbox = (address: string): string[] => client.sandbox.mailbox(address).inbox.map(({ mime }) => mime.toString());
const send = (mime: string | Buffer, options: CreateOptions = {}, as = SENDER): Promise<Answer> =>
  client.call(envelope(createItem(mime, options), { as }));
/** What lies where in the sender's mailbox. */
function kept(address = SENDER): Record<string, number> {
  const { drafts, sentitems, outbox, deleteditems } = client.sandbox.mailbox(address);
  return Object.fromEntries(
    Object.entries({ drafts, sentitems, outbox, deleteditems })
      .filter(([, items]) => items.length > 0)
      .map(([name, items]) => [name, items.length]),
  );
}
const only = <T>(list: readonly T[]): T => {
  const [first, ...rest] = list;
  if (first === undefined || rest.length > 0) throw new Error(`one expected, got ${list.length}`);
  return first;
};

describe('a token', () => {
  const good = envelope(createItem(mail()));
  const refused = async (token: string, reason: string): Promise<void> => {
    const answer = await client.call(good, { token });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer client_id="00000002-0000-0ff1-ce00-000000000000"/);
    expect(answer.headers['x-ms-diagnostics']).toMatch(/^2000003;reason=".*";error_category="invalid_token"$/);
    expect(answer.headers['x-ms-diagnostics']).toContain(reason);
    expect(client.sandbox.arrived()).toEqual([]);
  };

  it('is needed', async () => await refused('', 'missing'));

  it('is a JWT', async () => await refused('rubbish', 'not a JWT'));

  it('carries the signature of the sandbox', async () => {
    const [header, claims, signature = ''] = (await client.token()).split('.');
    await refused([header, claims, signature.replace(/^./, (one) => (one === 'A' ? 'B' : 'A'))].join('.'), 'signature');
  });

  it('is for Exchange', async () => {
    await refused(await client.tokenOf({ scope: 'https://graph.microsoft.com/.default' }), 'for another audience');
  });

  it('is good until it expires', async () => {
    const token = await client.tokenOf();
    clock += 3_598_000;
    expect((await client.call(good, { token })).status).toBe(200);
    await client.reset();
    clock += 2_000;
    await refused(token, 'expired');
  });

  it('is no good after it was revoked, the next one is', async () => {
    const token = await client.tokenOf();
    await client.control('POST', '/control/identity', { revoke: true });
    await refused(token, 'revoked');
    expect((await client.call(good, { token: await client.tokenOf() })).status).toBe(200);
  });

  it('is judged before the body is read', async () => {
    const request = await client.open({ token: 'rubbish', headers: { 'content-length': '1000' } });
    request.write(good.slice(0, 100));
    const answer = await whole(request);
    expect(answer.status).toBe(401);
    request.on('error', () => undefined).destroy();
  });

  it('that expires while the sandbox dawdles was good when it came', async () => {
    client.sandbox.fault({ does: { slow: { beforeActing: 100 } } });
    const token = await client.tokenOf();
    const request = client.call(good, { token });
    await client.hit();
    clock += 4_000_000;
    expect(codes(await request)).toEqual(['NoError']);
  });
});

describe('every answer', () => {
  it('says that it is a sandbox, and repeats the id of the client', async () => {
    const headers = { 'client-request-id': 'abc-1', 'return-client-request-id': 'true' };
    const answer = await client.call(envelope(createItem(mail())), { headers });
    expect(answer.headers).toMatchObject({
      'client-request-id': 'abc-1',
      'content-type': 'text/xml; charset=utf-8',
      server: 'smtp2exchange sandbox, no real Exchange',
      'x-feserver': 'SANDBOX-FE',
      'x-beserver': 'SANDBOX-BE',
    });
    expect(answer.headers['request-id']).toMatch(/^[0-9a-f-]{36}$/);
    const plain = await client.call(envelope(createItem(mail())), { headers: { 'client-request-id': 'abc-1' } });
    expect(plain.headers['client-request-id']).toBeUndefined();
    expect(plain.headers['request-id']).not.toBe(answer.headers['request-id']);
  });

  it('to another method than POST is 405', async () => {
    expect((await client.call('', { method: 'GET', path: '/EWS/Exchange.asmx' })).status).toBe(405);
  });

  it('comes at any spelling of the path', async () => {
    const answer = await client.call(envelope(createItem(mail())), { path: '/ews/exchange.ASMX?x=1' });
    expect(codes(answer)).toEqual(['NoError']);
  });
});

describe('an application', () => {
  const inboxOf = `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>${distinguished('inbox')}</m:FolderIds></m:GetFolder>`;
  const ask = async (clientId: string, as: string, operation = inboxOf): Promise<string[]> => {
    const token = await client.tokenOf({ client_id: clientId, client_secret: 'right' });
    return codes(await client.call(envelope(operation, { as }), { token }));
  };

  it('with the role may act for every mailbox', async () => {
    for (const as of [SENDER, ALICE, ALIAS])
      expect(codes(await client.call(envelope(inboxOf, { as })))).toEqual(['NoError']);
  });

  it('without a role may act for the mailboxes of its scope only', async () => {
    expect(await ask('scoped', ALICE)).toEqual(['NoError']);
    expect(await ask('scoped', BOB)).toEqual(['fault ErrorImpersonateUserDenied']);
    expect(await ask('scoped', BOB, createItem(mail()))).toEqual(['fault ErrorImpersonateUserDenied']);
    expect(client.sandbox.arrived()).toEqual([]);
  });

  it('without a role and scope may act for none, other roles do not help', async () => {
    expect(await ask('unscoped', ALICE)).toEqual(['fault ErrorImpersonateUserDenied']);
  });

  it('reaches folders of other mailboxes within its scope only', async () => {
    const of = (address: string): string => inboxOf.replace(distinguished('inbox'), distinguished('inbox', address));
    expect(await ask('scoped', ALICE, of('ALICE@contoso.com'))).toEqual(['NoError']);
    expect(await ask('scoped', ALICE, of(BOB))).toEqual(['ErrorAccessDenied']);
    expect(await ask('scoped', ALICE, of('nobody@contoso.com'))).toEqual(['ErrorNonExistentMailbox']);
  });
});

describe('impersonation', () => {
  it.each([
    ['missing', { as: '' }, 'fault ErrorInvalidExchangeImpersonationHeaderData'],
    ['of nobody we know', { as: 'nobody@contoso.com' }, 'fault ErrorNonExistentMailbox'],
    ['by the alias as a primary address', { as: ALIAS, by: 'PrimarySmtpAddress' }, 'fault ErrorNonPrimarySmtpAddress'],
    ['by the alias', { as: ALIAS }, 'NoError'],
    ['by the primary address', { as: SENDER, by: 'PrimarySmtpAddress' }, 'NoError'],
    ['in another case', { as: ' Notifications@CONTOSO.com ' }, 'NoError'],
    ['by the principal name', { as: SENDER, by: 'PrincipalName' }, 'NoError'],
  ])('%s', async (_, options, code) => {
    const answer = await client.call(envelope(createItem(mail()), options));
    expect(codes(answer)).toEqual([code]);
    expect(answer.status).toBe(code === 'NoError' ? 200 : 500);
    expect(client.sandbox.arrived().map(({ mailbox }) => mailbox)).toEqual(code === 'NoError' ? [SENDER] : []);
  });

  it('tells the primary address to whom named another as such', async () => {
    const answer = await client.call(envelope(createItem(mail()), { as: ALIAS, by: 'PrimarySmtpAddress' }));
    expect(only(all(answer, 'Value'))).toMatchObject({ attributes: { Name: 'Primary' }, text: SENDER });
  });
});

const mime = message(mail()).replace(/^<t:Message>|<\/t:Message>$/g, '');
const extended =
  '<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Integer"/><t:Value>1</t:Value></t:ExtendedProperty>';
const create = (inside: string, attributes = 'MessageDisposition="SendOnly"'): string =>
  `<m:CreateItem ${attributes}><m:Items><t:Message>${inside}</t:Message></m:Items></m:CreateItem>`;
const idOnly = '<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>';
const parents = `<m:ParentFolderIds>${distinguished('inbox')}</m:ParentFolderIds>`;
const view = '<m:IndexedPageItemView MaxEntriesReturned="1" Offset="0" BasePoint="Beginning"/>';
const equals = (path: string, value: string): string =>
  `<t:IsEqualTo>${path}<t:FieldURIOrConstant><t:Constant Value="${value}"/></t:FieldURIOrConstant></t:IsEqualTo>`;
const byId = (id: string): string => equals('<t:FieldURI FieldURI="message:InternetMessageId"/>', id);
const find = (inside: string, attributes = 'Traversal="Shallow"'): string =>
  `<m:FindItem ${attributes}>${inside}</m:FindItem>`;
const restricted = (condition: string): string =>
  find(`${idOnly}<m:Restriction>${condition}</m:Restriction>${parents}`);

/** Each is refused by Exchange's own schema too. */
const BREACHES: Readonly<Record<string, string>> = {
  'recipients before the MIME': create(`${recipients('To', ALICE)}${mime}`),
  'Bcc before To': create(`${mime}${recipients('Bcc', ALICE)}${recipients('To', BOB)}`),
  'extended properties after the recipients': create(`${mime}${recipients('Bcc', ALICE)}${extended}`),
  'From before Bcc': create(
    `${mime}<t:From><t:Mailbox><t:EmailAddress>${SENDER}</t:EmailAddress></t:Mailbox></t:From>${recipients('Bcc', ALICE)}`,
  ),
  'Importance after an extended property': create(`${mime}${extended}<t:Importance>High</t:Importance>`),
  'two MIMEs': create(`${mime}${mime}`),
  'two Bcc lists': create(`${mime}${recipients('Bcc', ALICE)}${recipients('Bcc', BOB)}`),
  'an unknown element in the message': create(`${mime}<t:Priority>1</t:Priority>`),
  'a Mailbox of the wrong namespace': create(`${mime}<t:BccRecipients><m:Mailbox/></t:BccRecipients>`),
  'an element without a namespace': create(`${mime}<BccRecipients/>`),
  'an address where a Mailbox belongs': create(
    `${mime}<t:BccRecipients><t:EmailAddress>a@b.c</t:EmailAddress></t:BccRecipients>`,
  ),
  'an empty address': create(`${mime}${recipients('Bcc', '')}`),
  'an importance that is none': create(`${mime}<t:Importance>Urgent</t:Importance>`),
  'a receipt that is neither true nor false': create(`${mime}<t:IsReadReceiptRequested>yes</t:IsReadReceiptRequested>`),
  'an extended property without a type': create(`${mime}${extended.replace(' PropertyType="Integer"', '')}`),
  'an extended property of an unknown type': create(`${mime}${extended.replace('"Integer"', '"Int"')}`),
  'an extended property of an unknown set': create(
    `${mime}${extended.replace('PropertyTag="0x0E07"', 'DistinguishedPropertySetId="Mine" PropertyName="x"')}`,
  ),
  'an extended property without a value': create(`${mime}${extended.replace('<t:Value>1</t:Value>', '')}`),
  'an extended property with Value and Values': create(
    `${mime}${extended.replace('</t:ExtendedProperty>', '<t:Values><t:Value>1</t:Value></t:Values></t:ExtendedProperty>')}`,
  ),
  'an attribute nobody knows': create(mime.replace('CharacterSet', 'Charset')),
  'a disposition that is none': create(mime, 'MessageDisposition="Send"'),
  'an unknown attribute of the operation': create(mime, 'MessageDisposition="SendOnly" Save="true"'),
  'no items': '<m:CreateItem MessageDisposition="SendOnly"/>',
  'an empty list of items': '<m:CreateItem MessageDisposition="SendOnly"><m:Items/></m:CreateItem>',
  'items before the folder': `<m:CreateItem MessageDisposition="SaveOnly"><m:Items>${message(mail())}</m:Items><m:SavedItemFolderId>${distinguished('drafts')}</m:SavedItemFolderId></m:CreateItem>`,
  'a folder that is not named': createItem(mail(), { folder: '' }),
  'two folders': createItem(mail(), { folder: distinguished('drafts') + distinguished('inbox') }),
  'a folder without an id': createItem(mail(), { folder: '<t:DistinguishedFolderId/>' }),
  'items of the wrong namespace': createItem(mail()).replaceAll('m:Items', 't:Items'),
  'SendItem without SaveItemToFolder': '<m:SendItem><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:SendItem>',
  'SendItem with SaveItemToFolder=yes':
    '<m:SendItem SaveItemToFolder="yes"><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:SendItem>',
  'SendItem without ids': '<m:SendItem SaveItemToFolder="true"/>',
  'DeleteItem without its type': '<m:DeleteItem><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:DeleteItem>',
  'SendItem with no id in the list': '<m:SendItem SaveItemToFolder="true"><m:ItemIds/></m:SendItem>',
  'SendItem with the folder first': `<m:SendItem SaveItemToFolder="true"><m:SavedItemFolderId>${distinguished('drafts')}</m:SavedItemFolderId><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:SendItem>`,
  'an ItemId without Id':
    '<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:ItemIds><t:ItemId ChangeKey="x"/></m:ItemIds></m:GetItem>',
  'GetItem without a shape': '<m:GetItem><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:GetItem>',
  'a shape that is none': find(idOnly.replace('IdOnly', 'Ids') + parents),
  'a shape without its base': find(
    `<m:ItemShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape>${parents}`,
  ),
  'a shape in the wrong order': find(
    `<m:ItemShape><t:IncludeMimeContent>true</t:IncludeMimeContent><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>${parents}`,
  ),
  'FindItem without Traversal': find(idOnly + parents, ''),
  'FindItem with a traversal that is none': find(idOnly + parents, 'Traversal="Wide"'),
  'FindItem with the folders first': find(parents + idOnly),
  'FindItem with the page after the restriction': find(
    `${idOnly}<m:Restriction>${byId('x')}</m:Restriction>${view}${parents}`,
  ),
  'a page without an offset': find(`${idOnly}${view.replace(' Offset="0"', '')}${parents}`),
  'a page without a base point': find(`${idOnly}${view.replace(' BasePoint="Beginning"', '')}${parents}`),
  'a page with rows that are no number': find(`${idOnly}${view.replace('"1"', '"all"')}${parents}`),
  'an empty restriction': find(`${idOnly}<m:Restriction/>${parents}`),
  'two conditions without And': restricted(byId('x') + byId('y')),
  'a condition nobody knows': restricted(byId('x').replaceAll('IsEqualTo', 'IsLike')),
  'a condition with the constant first': restricted(
    '<t:IsEqualTo><t:FieldURIOrConstant><t:Constant Value="x"/></t:FieldURIOrConstant><t:FieldURI FieldURI="message:InternetMessageId"/></t:IsEqualTo>',
  ),
  'a constant without a value': restricted(byId('x').replace(' Value="x"', '')),
  'Not with two conditions': restricted(`<t:Not>${byId('x')}${byId('y')}</t:Not>`),
  'And without a condition': restricted('<t:And/>'),
  'GetFolder without a shape': `<m:GetFolder><m:FolderIds>${distinguished('inbox')}</m:FolderIds></m:GetFolder>`,
};

const GOOD = envelope(createItem(mail()));
/** Documents as they are. */
const DOCUMENTS: Readonly<Record<string, string | Buffer>> = {
  ...Object.fromEntries(Object.entries(BREACHES).map(([name, operation]) => [name, envelope(operation)])),
  'nothing at all': '',
  'no XML': 'hello',
  'an unclosed element': GOOD.replace('</t:Message>', ''),
  'half a document': GOOD.slice(0, GOOD.length / 2),
  'something after the end': `${GOOD}<x/>`,
  'a bare ampersand': GOOD.replace('Version="Exchange2013_SP1"', 'Version="A&B"'),
  'an attribute twice': GOOD.replace(/(MessageDisposition="\w+")/, '$1 $1'),
  'an undeclared prefix': GOOD.replaceAll('t:Message>', 'q:Message>'),
  'octets that are no UTF-8': Buffer.from(GOOD.replace(SENDER, `caf\u00e9@contoso.com`), 'latin1'),
  'a control character': GOOD.replace(SENDER, `\u0001${SENDER}`),
  'a document type': GOOD.replace('?>', '?><!DOCTYPE s:Envelope>'),
  'an entity of its own': GOOD.replace('?>', '?><!DOCTYPE x [<!ENTITY a "b">]>').replace(SENDER, '&a;'),
  'another root': '<x/>',
  'an envelope of SOAP 1.2': GOOD.replace('schemas.xmlsoap.org/soap/envelope/', 'www.w3.org/2003/05/soap-envelope'),
  'an envelope without a body': GOOD.replace(/<s:Body>.*<\/s:Body>/s, ''),
  'an empty body': envelope(''),
  'two operations': envelope(createItem(mail()) + createItem(mail())),
  'the header after the body': GOOD.replace(/(<s:Header>.*<\/s:Header>)(<s:Body>.*<\/s:Body>)/s, '$2$1'),
  'an operation in the types namespace': envelope(createItem(mail()).replaceAll('m:CreateItem', 't:CreateItem')),
  'a header of an unknown namespace': GOOD.replace('<s:Header>', '<s:Header><x xmlns="urn:x"/>'),
  'a server version without a version': GOOD.replace(/ Version="\w+"/, ''),
  'an impersonation with an attribute': GOOD.replace('<t:SmtpAddress', '<t:SmtpAddress Name="x"'),
  'an impersonation of two': GOOD.replace('</t:ConnectingSID>', '<t:SID>S-1</t:SID></t:ConnectingSID>'),
  'an impersonation of none': GOOD.replace(/<t:ConnectingSID>.*<\/t:ConnectingSID>/, ''),
  'an impersonation by an unknown name': envelope(createItem(mail()), { by: 'Address' }),
};

describe('the schema', () => {
  it.each(Object.entries(DOCUMENTS))('refuses %s', async (_, document) => {
    const answer = await client.call(document);
    expect(answer.status).toBe(500);
    expect(codes(answer)).toEqual(['fault ErrorSchemaValidation']);
    expect(answer.text).toMatch(/<faultcode [^>]*>a:ErrorSchemaValidation<\/faultcode><faultstring [^>]*>[^<]{20,}</);
    expect(client.sandbox.arrived()).toEqual([]);
    expect(kept()).toEqual({});
  });

  it('has an operation that the sandbox does not', async () => {
    const answer = await client.call(
      envelope('<m:ArchiveItem><m:ItemIds><t:ItemId Id="x"/></m:ItemIds></m:ArchiveItem>'),
    );
    expect(answer.status).toBe(500);
    expect(codes(answer)).toEqual(['fault ErrorInvalidRequest']);
    expect(answer.text).toContain('ArchiveItem');
  });

  it('lets every element through that a message may have', async () => {
    const box = `<t:Mailbox><t:Name>A</t:Name><t:EmailAddress>${SENDER}</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType></t:Mailbox>`;
    const more =
      '<t:ItemClass>IPM.Note</t:ItemClass><t:Subject>other</t:Subject><t:Sensitivity>Normal</t:Sensitivity>' +
      '<t:Importance>High</t:Importance>' +
      extended +
      '<t:ExtendedProperty><t:ExtendedFieldURI DistinguishedPropertySetId="InternetHeaders" PropertyName="X-A" PropertyType="StringArray"/><t:Values><t:Value>a</t:Value><t:Value>b</t:Value></t:Values></t:ExtendedProperty>' +
      `<t:Sender>${box}</t:Sender>${recipients('To', ALICE)}${recipients('Cc')}${recipients('Bcc', BOB)}` +
      '<t:IsReadReceiptRequested>true</t:IsReadReceiptRequested><t:IsDeliveryReceiptRequested>0</t:IsDeliveryReceiptRequested>' +
      `<t:From>${box}</t:From><t:InternetMessageId>&lt;2@x.test&gt;</t:InternetMessageId><t:IsRead>true</t:IsRead>` +
      `<t:References>&lt;0@x.test&gt;</t:References><t:ReplyTo>${box}</t:ReplyTo>`;
    expect(codes(await send(mail(), { more }))).toEqual(['NoError']);
    expect(only(client.sandbox.arrived())).toMatchObject({
      messageId: '<2@x.test>',
      subject: 'other',
      elements: { Importance: 'High', IsReadReceiptRequested: 'true', IsDeliveryReceiptRequested: '0' },
    });
  });
});

describe('CreateItem', () => {
  it.each([
    ['SendOnly', undefined, { inbox: 1 }, {}],
    ['SendOnly', distinguished('drafts'), { inbox: 1 }, {}],
    ['SendAndSaveCopy', undefined, { inbox: 1 }, { sentitems: 1 }],
    ['SendAndSaveCopy', distinguished('sentitems'), { inbox: 1 }, { sentitems: 1 }],
    ['SendAndSaveCopy', distinguished('deleteditems'), { inbox: 1 }, { deleteditems: 1 }],
    ['SaveOnly', undefined, { inbox: 0 }, { drafts: 1 }],
    ['SaveOnly', distinguished('drafts'), { inbox: 0 }, { drafts: 1 }],
    ['SaveOnly', distinguished('outbox'), { inbox: 0 }, { outbox: 1 }],
  ])('%s into %s', async (disposition, folder, delivered, left) => {
    const answer = await send(mail(), { disposition, ...(folder === undefined ? {} : { folder }) });
    expect(answer.status).toBe(200);
    expect(codes(answer)).toEqual(['NoError']);
    expect(inbox(ALICE).length).toBe(delivered.inbox);
    expect(client.sandbox.arrived().length).toBe(delivered.inbox);
    expect(kept()).toEqual(left);
    // An id is told of what was only saved.
    expect(all(answer, 'ItemId').length).toBe(disposition === 'SaveOnly' ? 1 : 0);
  });

  it('keeps the copy in the mailbox that the folder names', async () => {
    expect(codes(await send(mail(), { folder: distinguished('sentitems', BOB) }))).toEqual(['NoError']);
    expect(kept()).toEqual({});
    expect(kept(BOB)).toEqual({ sentitems: 1 });
    expect(codes(await send(mail(), { disposition: 'SaveOnly', folder: distinguished('drafts', BOB) }))).toEqual([
      'NoError',
    ]);
    expect(kept(BOB)).toEqual({ sentitems: 1, drafts: 1 });
  });

  it('takes the id of a folder', async () => {
    const got = await client.call(
      envelope(
        `<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:FolderIds>${distinguished('outbox')}</m:FolderIds></m:GetFolder>`,
      ),
    );
    const id = only(all(got, 'FolderId')).attributes['Id'] ?? '';
    const saved = await send(mail(), { disposition: 'SaveOnly', folder: `<t:FolderId Id="${id}"/>` });
    expect(codes(saved)).toEqual(['NoError']);
    expect(kept()).toEqual({ outbox: 1 });
  });

  it.each(['SaveOnly', 'SendAndSaveCopy'])('%s into a folder that is not there does nothing', async (disposition) => {
    const answer = await send(mail(), { disposition, folder: '<t:FolderId Id="nowhere"/>' });
    expect(codes(answer)).toEqual(['ErrorSavedItemFolderNotFound']);
    expect(kept()).toEqual({});
    expect(client.sandbox.arrived()).toEqual([]);
  });

  it('SendOnly does not look at the folder', async () => {
    const answer = await send(mail(), { disposition: 'SendOnly', folder: '<t:FolderId Id="nowhere"/>' });
    expect(codes(answer)).toEqual(['NoError']);
  });

  it('needs a disposition for a message', async () => {
    expect(codes(await client.call(envelope(create(mime, ''))))).toEqual(['ErrorMessageDispositionRequired']);
    expect(client.sandbox.arrived()).toEqual([]);
  });

  it('creates messages only', async () => {
    const answer = await client.call(
      envelope('<m:CreateItem MessageDisposition="SendOnly"><m:Items><t:Task/></m:Items></m:CreateItem>'),
    );
    expect(codes(answer)).toEqual(['ErrorInvalidRequest']);
  });

  it('judges several messages one by one, in order', async () => {
    const three = [mail(), mail({ To: '', Subject: 'for nobody' }), mail({ To: BOB })]
      .map((one) => message(one))
      .join('');
    const answer = await client.call(
      envelope(`<m:CreateItem MessageDisposition="SendOnly"><m:Items>${three}</m:Items></m:CreateItem>`),
    );
    expect(codes(answer)).toEqual(['NoError', 'ErrorMissingRecipients', 'NoError']);
    expect(client.sandbox.arrived().map(({ to }) => to)).toEqual([[ALICE], [BOB]]);
  });

  it('keeps the MIME octet by octet', async () => {
    const octets = Buffer.concat([Buffer.from(mail()), Buffer.from(Array.from({ length: 1024 }, (_, n) => n & 0xff))]);
    await send(octets);
    expect(only(client.sandbox.arrived()).submitted.equals(octets)).toBe(true);
    expect(only(client.sandbox.mailbox(SENDER).sentitems).mime.equals(octets)).toBe(true);
  });

  it('reads base64 in lines', async () => {
    const packed = Buffer.from(mail()).toString('base64');
    const operation = createItem(mail()).replace(packed, packed.replace(/(.{20})/g, '$1\r\n\t '));
    expect(codes(await client.call(envelope(operation)))).toEqual(['NoError']);
    expect(only(client.sandbox.arrived()).submitted.toString()).toBe(mail());
  });

  it.each([
    ['a character that is none of base64', '*', 'ErrorMimeContentInvalidBase64String'],
    [
      'URL-safe base64',
      Buffer.from('\u00fb\u00ff', 'latin1').toString('base64url'),
      'ErrorMimeContentInvalidBase64String',
    ],
    ['no padding', 'YQ', 'ErrorMimeContentInvalidBase64String'],
    ['too much padding', 'YWJj====', 'ErrorMimeContentInvalidBase64String'],
    ['padding in the middle', 'YQ==YQ==', 'ErrorMimeContentInvalidBase64String'],
    ['an end cut off', Buffer.from(mail()).toString('base64').slice(0, -1), 'ErrorMimeContentInvalidBase64String'],
    ['nothing', '', 'ErrorMimeContentInvalid'],
    ['white space', ' \r\n', 'ErrorMimeContentInvalid'],
  ])('refuses MIME content of %s', async (_, content, code) => {
    const answer = await client.call(envelope(create(`<t:MimeContent>${content}</t:MimeContent>`)));
    expect(answer.status).toBe(200);
    expect(codes(answer)).toEqual([code]);
    expect(client.sandbox.arrived()).toEqual([]);
  });
});

describe('recipients, where properties replace those of the MIME', () => {
  const header = { To: `"A, lice" <${ALICE}>`, Cc: BOB, Bcc: `Carol <${CAROL}>` };
  it.each([
    ['no property', header, '', [ALICE], [BOB], [CAROL]],
    ['Bcc beside a MIME without', { To: ALICE }, recipients('Bcc', CAROL), [ALICE], [], [CAROL]],
    ['one list is replaced, the others stay', header, recipients('Cc', CAROL), [ALICE], [CAROL], [CAROL]],
    [
      'all lists',
      header,
      recipients('To', BOB) + recipients('Cc', CAROL) + recipients('Bcc', ALICE),
      [BOB],
      [CAROL],
      [ALICE],
    ],
    ['an empty list clears', header, recipients('Cc') + recipients('Bcc'), [ALICE], [], []],
    ['an address twice in a list counts once', { To: `${ALICE}, Alice@contoso.com` }, '', [ALICE], [], []],
    ['header fields that repeat', { To: ALICE, to: BOB }, '', [ALICE, BOB], [], []],
    ['a group', { To: `team: ${ALICE}, ${BOB};` }, '', [ALICE, BOB], [], []],
    ['undisclosed recipients', { To: 'undisclosed-recipients:;', Bcc: CAROL }, '', [], [], [CAROL]],
  ])('%s', async (_, fields, more, to, cc, bcc) => {
    expect(codes(await send(mail(fields), { more }))).toEqual(['NoError']);
    expect(only(client.sandbox.arrived())).toMatchObject({ to, cc, bcc, outside: [], undeliverable: [] });
    for (const address of [ALICE, BOB, CAROL])
      expect(inbox(address).length, address).toBe([...to, ...cc, ...bcc].filter((one) => one === address).length);
  });

  it('a recipient who is in To and Bcc gets two copies', async () => {
    await send(mail({ To: ALICE }), { more: recipients('Bcc', ALICE) });
    expect(inbox(ALICE).length).toBe(2);
  });

  it.each([
    ['none at all', { To: '' }, '', 'ErrorMissingRecipients'],
    ['all lists cleared', header, recipients('To') + recipients('Cc') + recipients('Bcc'), 'ErrorMissingRecipients'],
    ['only an empty group', { To: 'undisclosed-recipients:;' }, '', 'ErrorMissingRecipients'],
    ['no domain in the MIME', { To: 'FaxMaster' }, '', 'ErrorInvalidRecipients'],
    ['no domain in a property', {}, recipients('Bcc', 'fax'), 'ErrorInvalidRecipients'],
    ['a space in a property', {}, recipients('Bcc', 'a b@contoso.com'), 'ErrorInvalidRecipients'],
    [
      'a Mailbox without an address',
      {},
      '<t:BccRecipients><t:Mailbox><t:Name>A</t:Name></t:Mailbox></t:BccRecipients>',
      'ErrorInvalidRecipients',
    ],
  ])('are refused: %s', async (_, fields, more, code) => {
    const answer = await send(mail(fields), { more });
    expect(codes(answer)).toEqual([code]);
    expect(client.sandbox.arrived()).toEqual([]);
    expect(kept()).toEqual({});
  });

  it('outside and undeliverable are facts of the arrival', async () => {
    const to = [ALICE, 'x@example.org', 'nobody@contoso.com', 'y@CONTOSO.com'];
    await send(mail({ To: to.join(', ') }));
    expect(only(client.sandbox.arrived())).toMatchObject({
      to,
      outside: ['x@example.org'],
      undeliverable: ['nobody@contoso.com', 'y@CONTOSO.com'],
    });
    expect(inbox(ALICE).length).toBe(1);
  });

  it('an alias is delivered to', async () => {
    await send(mail({ To: ALIAS.toUpperCase() }));
    expect(inbox(SENDER).length).toBe(1);
  });
});

describe('recipients, where properties add to those of the MIME', () => {
  let adding: Client;
  beforeAll(async () => (adding = await startTestSandbox({ recipientProperties: 'add' })));
  afterAll(async () => await adding.sandbox.close());
  afterEach(async () => await adding.reset());

  it.each([
    ['no property', {}, '', [ALICE], [BOB], []],
    ['Bcc', {}, recipients('Bcc', CAROL), [ALICE], [BOB], [CAROL]],
    ['another To', {}, recipients('To', CAROL), [ALICE, CAROL], [BOB], []],
    ['the same again', {}, recipients('To', ALICE.toUpperCase()), [ALICE], [BOB], []],
    ['an empty list adds nothing', { Bcc: CAROL }, recipients('To') + recipients('Bcc'), [ALICE], [BOB], [CAROL]],
  ])('%s', async (_, fields, more, to, cc, bcc) => {
    const answer = await adding.call(envelope(createItem(mail({ Cc: BOB, ...fields }), { more })));
    expect(codes(answer)).toEqual(['NoError']);
    expect(only(adding.sandbox.arrived())).toMatchObject({ to, cc, bcc });
  });
});

describe('the delivered copy', () => {
  it('shows no blind recipient, but what else was written', async () => {
    const fields = { To: `Alice <${ALICE}>`, Cc: BOB, Bcc: CAROL, 'X-Own': 'kept', Received: 'from x by y' };
    await send(mail(fields, 'body with bcc: in it\r\n'));
    for (const address of [ALICE, BOB, CAROL]) {
      const copy = only(inbox(address));
      const [head = '', body] = copy.split('\r\n\r\n');
      expect(head).not.toMatch(/carol|^bcc/im);
      expect(head).toContain(`To: Alice <${ALICE}>`);
      expect(head).toContain('X-Own: kept');
      expect(head.match(/^Received: .*/gm)).toEqual([expect.stringContaining('sandbox.invalid')]);
      expect(body).toBe('body with bcc: in it\r\n');
      expect(client.sandbox.mailbox(address).inbox[0]).toMatchObject({
        to: [ALICE],
        cc: [BOB],
        bcc: [],
        isRead: false,
      });
    }
    // The sender's own copy is as it was handed over.
    expect(only(client.sandbox.mailbox(SENDER).sentitems)).toMatchObject({ bcc: [CAROL] });
  });

  it('has To and Cc from the recipient table where a property changed it', async () => {
    await send(mail({ To: `Alice <${ALICE}>`, Cc: CAROL }), { more: recipients('Cc', BOB) });
    const head = only(inbox(BOB)).split('\r\n\r\n')[0] ?? '';
    expect(head.match(/^(?:To|Cc): .*/gm)).toEqual([`To: ${ALICE}`, `Cc: ${BOB}`]);
    expect(head).not.toContain(CAROL);
    expect(inbox(CAROL)).toEqual([]);
  });

  it('has no Cc where it was cleared', async () => {
    await send(mail({ Cc: CAROL }), { more: recipients('Cc') });
    expect(only(inbox(ALICE))).not.toMatch(/^cc:/im);
  });
});

describe('the sender', () => {
  it.each([
    ['of the mailbox', SENDER],
    ['in another case', SENDER.toUpperCase()],
    ['of an alias', ALIAS],
    ['that it has Send As for', SALES],
    ['missing', ''],
  ])('%s is allowed', async (_, from) => {
    expect(codes(await send(mail({ From: from })))).toEqual(['NoError']);
    expect(only(client.sandbox.arrived()).from).toBe(from === '' ? SENDER : from);
  });

  it.each([
    ['SendAndSaveCopy', { drafts: 1 }],
    ['SendOnly', {}],
  ])('of somebody else is denied; %s leaves %o', async (disposition, left) => {
    const answer = await send(mail({ From: `Alice <${ALICE}>` }), { disposition });
    expect(answer.status).toBe(200);
    expect(codes(answer)).toEqual(['ErrorSendAsDenied']);
    expect(client.sandbox.arrived()).toEqual([]);
    expect(kept()).toEqual(left);
  });

  it('is that of the From property if there is one', async () => {
    const from = (address: string): string =>
      `<t:From><t:Mailbox><t:EmailAddress>${address}</t:EmailAddress></t:Mailbox></t:From>`;
    expect(codes(await send(mail(), { more: from(ALICE) }))).toEqual(['ErrorSendAsDenied']);
    expect(codes(await send(mail({ From: ALICE }), { more: from(SENDER) }))).toEqual(['NoError']);
  });

  it('may be saved as anybody', async () => {
    expect(codes(await send(mail({ From: ALICE }), { disposition: 'SaveOnly' }))).toEqual(['NoError']);
  });
});

describe('sizes', () => {
  it('of a message over that of the mailbox', async () => {
    const sized = (size: number): string => mail({}, 'x'.repeat(size - mail({}, '').length));
    expect(codes(await send(sized(100_000)))).toEqual(['NoError']);
    const over = await send(sized(100_001));
    expect(over.status).toBe(200);
    expect(codes(over)).toEqual(['ErrorMessageSizeExceeded']);
    expect(client.sandbox.arrived().length).toBe(1);
    expect(codes(await send(sized(100_001).replace(SENDER, ALICE), {}, ALICE))).toEqual(['NoError']);
  });

  it('of a request, told before it is sent', async () => {
    const request = await client.open({ headers: { 'content-length': String(LIMIT + 1) } });
    request.flushHeaders();
    expect((await whole(request)).status).toBe(413);
    request.on('error', () => undefined).destroy();
  });

  it('of a request that does not say how long it is', async () => {
    const body = Buffer.from(envelope(createItem(mail({}, 'x'.repeat(LIMIT)))));
    const request = await client.open({ headers: { 'transfer-encoding': 'chunked' } });
    const answer = await whole(request.end(body));
    expect(answer.status).toBe(413);
    expect(client.sandbox.arrived()).toEqual([]);
  });

  it('of a request just below', async () => {
    const padding = ' '.repeat(LIMIT - Buffer.byteLength(GOOD));
    expect(codes(await client.call(GOOD + padding))).toEqual(['NoError']);
    expect((await client.call(`${GOOD}${padding} `)).status).toBe(413);
  });
});

describe('DeleteItem', () => {
  const deleteItem = (type: string, id: string): string =>
    `<m:DeleteItem DeleteType="${type}"><m:ItemIds><t:ItemId Id="${id}"/></m:ItemIds></m:DeleteItem>`;
  const call = async (type: string, id: string): Promise<string[]> =>
    codes(await client.call(envelope(deleteItem(type, id))));

  it.each([
    ['HardDelete', {}],
    ['SoftDelete', {}],
    ['MoveToDeletedItems', { deleteditems: 1 }],
  ])('%s takes the item out of its folder; its id is no more', async (type, left) => {
    const saved = await send(mail(), { disposition: 'SaveOnly' });
    const id = only(all(saved, 'ItemId')).attributes['Id'] ?? '';
    expect(await call(type, id)).toEqual(['NoError']);
    expect(kept()).toEqual(left);
    expect(await call(type, id)).toEqual(['ErrorItemNotFound']);
    expect(client.sandbox.arrived()).toEqual([]);
  });

  it('knows no other way', async () => {
    expect(await call('Burn', 'A'.repeat(32))).toEqual(['fault ErrorSchemaValidation']);
  });
});

describe('what was saved', () => {
  const flags = (value: number): string =>
    `<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Integer"/><t:Value>${value}</t:Value></t:ExtendedProperty>`;

  it.each([
    ['no flags', '', 'true', 'NoError'],
    ['mfRead and mfUnsent', flags(9), 'true', 'NoError'],
    ['mfRead alone', flags(1), 'false', 'ErrorInvalidOperation'],
  ])('with %s: IsDraft and SendItem say so', async (_, more, isDraft, code) => {
    const { attributes } = only(all(await send(mail(), { disposition: 'SaveOnly', more }), 'ItemId'));
    const { Id: id = '', ChangeKey: key = '' } = attributes;
    const shape =
      '<t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:IsSubmitted"/><t:FieldURI FieldURI="item:IsDraft"/></t:AdditionalProperties>';
    const got = await client.call(
      envelope(
        `<m:GetItem><m:ItemShape>${shape}</m:ItemShape><m:ItemIds><t:ItemId Id="${id}"/></m:ItemIds></m:GetItem>`,
      ),
    );
    expect(all(got, 'IsDraft').map(({ text }) => text)).toEqual([isDraft]);
    expect(all(got, 'IsSubmitted').map(({ text }) => text)).toEqual(['false']);
    const sending = `<m:SendItem SaveItemToFolder="true"><m:ItemIds><t:ItemId Id="${id}" ChangeKey="${key}"/></m:ItemIds></m:SendItem>`;
    expect(codes(await client.call(envelope(sending)))).toEqual([code]);
  });
});

describe('SendItem', () => {
  const sendItem = (id: string, { save = 'true', folder = '' } = {}): string =>
    `<m:SendItem SaveItemToFolder="${save}"><m:ItemIds><t:ItemId ${id}/></m:ItemIds>${folder === '' ? '' : `<m:SavedItemFolderId>${folder}</m:SavedItemFolderId>`}</m:SendItem>`;
  const draft = async (mime = mail()): Promise<{ id: string; key: string }> => {
    const { attributes } = only(all(await send(mime, { disposition: 'SaveOnly' }), 'ItemId'));
    return { id: attributes['Id'] ?? '', key: attributes['ChangeKey'] ?? '' };
  };
  const call = async (operation: string, as = SENDER): Promise<string[]> =>
    codes(await client.call(envelope(operation, { as })));

  it.each([
    ['into Sent Items', {}, { sentitems: 1 }],
    ['told with 1', { save: '1' }, { sentitems: 1 }],
    ['into another folder', { folder: distinguished('deleteditems') }, { deleteditems: 1 }],
    ['without a copy', { save: 'false' }, {}],
  ])('sends the draft, %s', async (_, options, left) => {
    const { id, key } = await draft();
    expect(await call(sendItem(`Id="${id}" ChangeKey="${key}"`, options))).toEqual(['NoError']);
    expect(kept()).toEqual(left);
    expect(inbox(ALICE).length).toBe(1);
    // The draft is gone: the copy is a new item, and no draft.
    const { sentitems, deleteditems } = client.sandbox.mailbox(SENDER);
    expect(await call(sendItem(`Id="${id}" ChangeKey="${key}"`))).toEqual(['ErrorItemNotFound']);
    for (const copy of [...sentitems, ...deleteditems])
      expect(await call(sendItem(`Id="${copy.id}" ChangeKey="${copy.changeKey}"`))).toEqual(['ErrorInvalidOperation']);
    expect(inbox(ALICE).length).toBe(1);
  });

  it.each([
    ['another change key', (id: string) => `Id="${id}" ChangeKey="AAAA"`, 'ErrorStaleObject'],
    ['an empty change key', (id: string) => `Id="${id}" ChangeKey=""`, 'ErrorStaleObject'],
    ['no change key', (id: string) => `Id="${id}"`, 'ErrorStaleObject'],
    ['an id that nothing has', () => `Id="${'A'.repeat(32)}" ChangeKey="AAAA"`, 'ErrorItemNotFound'],
    ['an id that is none', () => 'Id="?" ChangeKey="AAAA"', 'ErrorInvalidIdMalformed'],
  ])('with %s changes nothing', async (_, attributes, code) => {
    const { id } = await draft();
    expect(await call(sendItem(attributes(id)))).toEqual([code]);
    expect(kept()).toEqual({ drafts: 1 });
    expect(client.sandbox.arrived()).toEqual([]);
  });

  it('with a folder for an item that is not saved changes nothing', async () => {
    const { id, key } = await draft();
    const operation = sendItem(`Id="${id}" ChangeKey="${key}"`, { save: 'false', folder: distinguished('drafts') });
    expect(await call(operation)).toEqual(['ErrorInvalidSendItemSaveSettings']);
    expect(kept()).toEqual({ drafts: 1 });
  });

  it('into a folder that is not there changes nothing', async () => {
    const { id, key } = await draft();
    const operation = sendItem(`Id="${id}" ChangeKey="${key}"`, { folder: '<t:FolderId Id="nowhere"/>' });
    expect(await call(operation)).toEqual(['ErrorSavedItemFolderNotFound']);
    expect(kept()).toEqual({ drafts: 1 });
  });

  it.each([
    ['somebody else as the sender', mail({ From: ALICE }), 'ErrorSendAsDenied'],
    ['nobody to send it to', mail({ To: '' }), 'ErrorMissingRecipients'],
  ])('of a draft with %s leaves it where it is', async (_, mime, code) => {
    const { id, key } = await draft(mime);
    expect(await call(sendItem(`Id="${id}" ChangeKey="${key}"`))).toEqual([code]);
    expect(kept()).toEqual({ drafts: 1 });
  });

  it("does not see another mailbox's draft", async () => {
    const { id, key } = await draft();
    expect(await call(sendItem(`Id="${id}" ChangeKey="${key}"`), BOB)).toEqual(['ErrorItemNotFound']);
    expect(kept()).toEqual({ drafts: 1 });
  });
});

const SPOOL_ID =
  '<t:ExtendedFieldURI DistinguishedPropertySetId="PublicStrings" PropertyName="SpoolId" PropertyType="String"/>';
const property = (path: string, value: string): string =>
  `<t:ExtendedProperty>${path}<t:Value>${value}</t:Value></t:ExtendedProperty>`;

describe('GetItem', () => {
  const header =
    '<t:ExtendedFieldURI DistinguishedPropertySetId="InternetHeaders" PropertyName="X-Own" PropertyType="String"/>';
  const get = async (id: string, shape: string, as = SENDER): Promise<Answer> =>
    await client.call(
      envelope(
        `<m:GetItem><m:ItemShape>${shape}</m:ItemShape><m:ItemIds><t:ItemId Id="${id}"/></m:ItemIds></m:GetItem>`,
        { as },
      ),
    );
  const prepare = async (): Promise<string> => {
    const more =
      property('<t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Integer"/>', '1') +
      property(SPOOL_ID, 'a&amp;b') +
      property(header, 'x') +
      recipients('Bcc', CAROL);
    await send(mail({ Cc: BOB, Subject: 'A & B <c>' }), { more });
    return only(client.sandbox.mailbox(SENDER).sentitems).id;
  };
  const names = (answer: Answer): string[] => only(all(answer, 'Message')).children.map(({ name }) => name);

  it.each([
    ['IdOnly', '', ['ItemId']],
    [
      'Default',
      '',
      ['ItemId', 'ItemClass', 'Subject', 'DateTimeReceived', 'Size', 'From', 'InternetMessageId', 'IsRead'],
    ],
    [
      'AllProperties',
      '',
      [
        'ItemId',
        'ItemClass',
        'Subject',
        'DateTimeReceived',
        'Size',
        'ToRecipients',
        'CcRecipients',
        'BccRecipients',
        'From',
        'InternetMessageId',
        'IsRead',
      ],
    ],
    ['IdOnly', '<t:IncludeMimeContent>true</t:IncludeMimeContent>', ['MimeContent', 'ItemId']],
    ['IdOnly', '<t:IncludeMimeContent>1</t:IncludeMimeContent>', ['MimeContent', 'ItemId']],
    [
      'IdOnly',
      '<t:AdditionalProperties><t:FieldURI FieldURI="item:MimeContent"/><t:FieldURI FieldURI="item:Subject"/><t:FieldURI FieldURI="message:ToRecipients"/></t:AdditionalProperties>',
      ['MimeContent', 'ItemId', 'Subject', 'ToRecipients'],
    ],
    [
      'IdOnly',
      `<t:AdditionalProperties>${header}${SPOOL_ID}</t:AdditionalProperties>`,
      ['ItemId', 'ExtendedProperty', 'ExtendedProperty'],
    ],
  ])('%s %s', async (base, more, expected) => {
    const answer = await get(await prepare(), `<t:BaseShape>${base}</t:BaseShape>${more}`);
    expect(codes(answer)).toEqual(['NoError']);
    expect(names(answer)).toEqual(expected);
  });

  it('gives values as they were set', async () => {
    const id = await prepare();
    const more = `<t:IncludeMimeContent>true</t:IncludeMimeContent><t:AdditionalProperties>${SPOOL_ID}<t:ExtendedFieldURI PropertyTag="3591" PropertyType="Integer"/></t:AdditionalProperties>`;
    const answer = await get(id, `<t:BaseShape>AllProperties</t:BaseShape>${more}`);
    expect(Buffer.from(only(all(answer, 'MimeContent')).text, 'base64').toString()).toContain('Subject: A & B <c>\r\n');
    expect(only(all(answer, 'Subject')).text).toBe('A & B <c>');
    expect(only(all(answer, 'IsRead')).text).toBe('true');
    expect(only(all(answer, 'InternetMessageId')).text).toBe('<1@x.test>');
    expect(all(answer, 'Value').map(({ text }) => text)).toEqual(['a&b', '1']);
    expect(all(answer, 'EmailAddress').map(({ text }) => text)).toEqual([ALICE, BOB, CAROL, SENDER]);
    expect(only(all(answer, 'ItemId')).attributes['Id']).toBe(id);
  });

  it("shows a reader neither Bcc nor the sender's named properties, but the header properties", async () => {
    await prepare();
    const { id } = only(client.sandbox.mailbox(CAROL).inbox);
    const more = `<t:IncludeMimeContent>true</t:IncludeMimeContent><t:AdditionalProperties>${SPOOL_ID}${header}</t:AdditionalProperties>`;
    const answer = await get(id, `<t:BaseShape>AllProperties</t:BaseShape>${more}`, CAROL);
    expect(names(answer)).not.toContain('BccRecipients');
    expect(all(answer, 'Value').map(({ text }) => text)).toEqual(['x']);
    expect(Buffer.from(only(all(answer, 'MimeContent')).text, 'base64').toString()).not.toMatch(/carol/i);
    expect(codes(await get(id, '<t:BaseShape>IdOnly</t:BaseShape>', BOB))).toEqual(['ErrorItemNotFound']);
  });

  it('answers for each id on its own', async () => {
    const id = await prepare();
    const ids = [id, 'A'.repeat(32), '?', id].map((one) => `<t:ItemId Id="${one}"/>`).join('');
    const answer = await client.call(envelope(`<m:GetItem>${idOnly}<m:ItemIds>${ids}</m:ItemIds></m:GetItem>`));
    expect(codes(answer)).toEqual(['NoError', 'ErrorItemNotFound', 'ErrorInvalidIdMalformed', 'NoError']);
  });
});

describe('FindItem', () => {
  const prepare = async (): Promise<void> => {
    for (const [n, spoolId] of ['one', 'two', 'three'].entries())
      await send(mail({ 'Message-ID': `<${n}@x.test>`, Subject: n === 1 ? 'middle' : 'edge' }), {
        more: property(SPOOL_ID, spoolId),
      });
  };
  const sent = `<m:ParentFolderIds>${distinguished('sentitems')}</m:ParentFolderIds>`;
  const search = async (condition: string, folders = sent): Promise<Answer> =>
    await client.call(
      envelope(
        find(
          `<m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape>${condition === '' ? '' : `<m:Restriction>${condition}</m:Restriction>`}${folders}`,
        ),
      ),
    );
  const found = (answer: Answer): string[] => all(answer, 'InternetMessageId').map(({ text }) => text);
  const id = (n: number): string => byId(`&lt;${n}@x.test&gt;`);
  const spool = (value: string): string => equals(SPOOL_ID, value);
  const subject = (value: string): string => equals('<t:FieldURI FieldURI="item:Subject"/>', value);

  it.each([
    ['everything, newest first', '', ['<2@x.test>', '<1@x.test>', '<0@x.test>']],
    ['by InternetMessageId', id(1), ['<1@x.test>']],
    ['by an InternetMessageId that is not there', id(7), []],
    ['by an extended property', spool('three'), ['<2@x.test>']],
    ['by an extended property that nothing has', equals(SPOOL_ID.replace('SpoolId', 'Other'), ''), []],
    ['by subject', subject('edge'), ['<2@x.test>', '<0@x.test>']],
    [
      'by class',
      equals('<t:FieldURI FieldURI="item:ItemClass"/>', 'IPM.Note'),
      ['<2@x.test>', '<1@x.test>', '<0@x.test>'],
    ],
    ['by being read', equals('<t:FieldURI FieldURI="message:IsRead"/>', 'true'), []],
    ['And', `<t:And>${subject('edge')}${spool('one')}</t:And>`, ['<0@x.test>']],
    ['And that nothing satisfies', `<t:And>${subject('middle')}${spool('one')}</t:And>`, []],
    ['Or', `<t:Or>${id(0)}${spool('two')}</t:Or>`, ['<1@x.test>', '<0@x.test>']],
    ['Not', `<t:Not>${subject('edge')}</t:Not>`, ['<1@x.test>']],
    ['all of them', `<t:And><t:Or>${id(0)}${id(1)}</t:Or><t:Not>${spool('one')}</t:Not></t:And>`, ['<1@x.test>']],
  ])('%s', async (_, condition, expected) => {
    await prepare();
    const answer = await search(condition);
    expect(codes(answer)).toEqual(['NoError']);
    expect(found(answer)).toEqual(expected);
    expect(only(all(answer, 'RootFolder')).attributes).toEqual({
      IndexedPagingOffset: String(expected.length),
      TotalItemsInView: String(expected.length),
      IncludesLastItemInRange: 'true',
    });
  });

  it.each([
    ['a condition', '<t:Exists><t:FieldURI FieldURI="item:Subject"/></t:Exists>', 'ErrorUnsupportedQueryFilter'],
    ['a field', equals('<t:FieldURI FieldURI="item:Body"/>', 'x'), 'ErrorUnsupportedPathForQuery'],
    [
      'a comparison of two fields',
      '<t:IsEqualTo><t:FieldURI FieldURI="item:Subject"/><t:FieldURIOrConstant><t:FieldURI FieldURI="item:ItemClass"/></t:FieldURIOrConstant></t:IsEqualTo>',
      'ErrorUnsupportedQueryFilter',
    ],
    [
      'one that is never reached',
      `<t:And>${id(9)}<t:Exists><t:FieldURI FieldURI="item:Subject"/></t:Exists></t:And>`,
      'ErrorUnsupportedQueryFilter',
    ],
  ])('refuses %s it does not have, in a full folder and in an empty one', async (_, condition, code) => {
    expect(codes(await search(condition))).toEqual([code]);
    await prepare();
    expect(codes(await search(condition))).toEqual([code]);
  });

  it('has no query strings', async () => {
    const answer = await client.call(envelope(find(`${idOnly}${parents}<m:QueryString>subject:x</m:QueryString>`)));
    expect(codes(answer)).toEqual(['ErrorUnsupportedQueryFilter']);
  });

  it('in several folders, each with its answer', async () => {
    await prepare();
    const folders = [
      distinguished('inbox', ALICE),
      distinguished('drafts'),
      '<t:FolderId Id="nowhere"/>',
      distinguished('contacts'),
    ];
    const answer = await search(id(2), `<m:ParentFolderIds>${folders.join('')}</m:ParentFolderIds>`);
    expect(codes(answer)).toEqual(['NoError', 'NoError', 'ErrorFolderNotFound', 'ErrorFolderNotFound']);
    expect(found(answer)).toEqual(['<2@x.test>']);
  });

  it('pages', async () => {
    await prepare();
    const page = async (offset: number, rows: string, more = ''): Promise<Answer> =>
      await client.call(
        envelope(
          find(
            `<m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape><m:IndexedPageItemView ${rows} Offset="${offset}" BasePoint="Beginning"/>${more}${sent}`,
          ),
        ),
      );
    const rows = (answer: Answer): unknown => [
      found(answer),
      Object.values(only(all(answer, 'RootFolder')).attributes),
    ];
    const two = 'MaxEntriesReturned="2"';
    expect(rows(await page(0, two))).toEqual([
      ['<2@x.test>', '<1@x.test>'],
      ['2', '3', 'false'],
    ]);
    expect(rows(await page(2, two))).toEqual([['<0@x.test>'], ['3', '3', 'true']]);
    expect(rows(await page(0, 'MaxEntriesReturned="3"'))).toEqual([
      ['<2@x.test>', '<1@x.test>', '<0@x.test>'],
      ['3', '3', 'true'],
    ]);
    expect(rows(await page(1, ''))).toEqual([
      ['<1@x.test>', '<0@x.test>'],
      ['3', '3', 'true'],
    ]);
    expect(rows(await page(9, two))).toEqual([[], ['3', '3', 'true']]);
    const order =
      '<m:SortOrder><t:FieldOrder Order="Ascending"><t:FieldURI FieldURI="item:DateTimeReceived"/></t:FieldOrder></m:SortOrder>';
    expect(rows(await page(0, two, order))).toEqual([
      ['<0@x.test>', '<1@x.test>'],
      ['2', '3', 'false'],
    ]);
    expect(codes(await page(0, 'MaxEntriesReturned="0"'))).toEqual(['ErrorInvalidPagingMaxRows']);
    expect(codes(await page(-1, two))).toEqual(['ErrorInvalidIndexedPagingParameters']);
  });

  it('gives no MIME and no recipients: those are for GetItem', async () => {
    await prepare();
    const answer = await client.call(
      envelope(
        find(
          `<m:ItemShape><t:BaseShape>AllProperties</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent><t:AdditionalProperties>${SPOOL_ID}</t:AdditionalProperties></m:ItemShape>${sent}`,
        ),
      ),
    );
    expect(all(answer, 'Value').map(({ text }) => text)).toEqual(['three', 'two', 'one']);
    expect([...all(answer, 'MimeContent'), ...all(answer, 'ToRecipients')]).toEqual([]);
  });

  it('never gives more than 250 rows with a restriction, 1000 without', async () => {
    const one = message(mail());
    for (let n = 0; n < 3; n++)
      await client.call(
        envelope(`<m:CreateItem MessageDisposition="SaveOnly"><m:Items>${one.repeat(400)}</m:Items></m:CreateItem>`),
      );
    const count = async (restriction: string): Promise<number> => {
      const folders = `<m:ParentFolderIds>${distinguished('drafts')}</m:ParentFolderIds>`;
      const pageView = view.replace('"1"', '"5000"');
      return all(await client.call(envelope(find(`${idOnly}${pageView}${restriction}${folders}`))), 'ItemId').length;
    };
    expect(await count('')).toBe(1000);
    expect(await count(`<m:Restriction>${byId('&lt;1@x.test&gt;')}</m:Restriction>`)).toBe(250);
  });
});

describe('GetFolder', () => {
  it('counts what lies in it', async () => {
    await send(mail());
    await send(mail());
    const folders = [
      distinguished('inbox', ALICE),
      distinguished('sentitems'),
      distinguished('tasks'),
      distinguished('inbox', 'nobody@contoso.com'),
    ];
    const answer = await client.call(
      envelope(
        `<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:FolderIds>${folders.join('')}</m:FolderIds></m:GetFolder>`,
      ),
    );
    expect(codes(answer)).toEqual(['NoError', 'NoError', 'ErrorFolderNotFound', 'ErrorNonExistentMailbox']);
    const facts = (name: string): string[] => all(answer, name).map(({ text }) => text);
    expect(facts('DisplayName')).toEqual(['Inbox', 'Sent Items']);
    expect(facts('TotalCount')).toEqual(['2', '2']);
    expect(facts('UnreadCount')).toEqual(['2', '2']);
  });
});

describe('a client that goes away', () => {
  it('in the middle of its upload has sent nothing, and the sandbox goes on', async () => {
    const request = await client.open({ headers: { 'content-length': String(GOOD.length) } });
    request.write(GOOD.slice(0, -10));
    const gone = broken(request);
    setTimeout(() => request.destroy(), 20);
    await gone;
    expect(codes(await client.call(GOOD))).toEqual(['NoError']);
    expect(client.sandbox.arrived().length).toBe(1);
  });

  it('while the sandbox dawdles has sent what it sent', async () => {
    client.sandbox.fault({ when: { count: 1 }, does: { slow: { beforeActing: 100 } } });
    const request = await client.open();
    const gone = broken(request.end(GOOD));
    await client.hit();
    request.destroy();
    await gone;
    await expect.poll(() => client.sandbox.arrived().length, { timeout: 2_000, interval: 10 }).toBe(1);
    expect(codes(await client.call(GOOD))).toEqual(['NoError']);
  });
});
