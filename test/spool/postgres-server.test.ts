/** What the tests of PostgreSQL stand on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from 'pg';
import { PostgresProxy } from './postgres-proxy.ts';
import { PostgresServer, withoutPostgres, withoutReplicas } from './postgres-server.ts';

describe.skipIf(withoutPostgres() !== undefined)('a PostgreSQL of a test', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(async () => server.close());

  it('keeps what was committed over kill -9', async () => {
    const name = await server.database();
    await server.sql('CREATE TABLE mail AS SELECT 1 AS n', name);
    await server.kill();
    await expect(server.sql('SELECT 1')).rejects.toThrow('ECONNREFUSED');
    await server.restart();
    expect(await server.sql('SELECT n FROM mail', name)).toEqual([{ n: 1 }]);
  });

  it('is reached through a proxy that cuts after a request went through', async () => {
    const name = await server.database();
    const proxy = await PostgresProxy.start(server.port);
    const client = new Client(server.url(name, { ports: [proxy.port] }));
    client.on('error', () => {});
    await client.connect();
    const isThrough = proxy.cutAfter('CREATE TABLE mail');
    await expect(client.query('CREATE TABLE mail ()')).rejects.toThrow();
    await isThrough;
    expect(await server.sql('SELECT * FROM mail', name)).toEqual([]);
    await proxy.close();
  });

  it.skipIf(withoutReplicas() !== undefined)('has what a primary acknowledged, on its replica', async () => {
    const name = await server.database();
    const replica = await server.replica();
    try {
      await server.sql('CREATE TABLE mail AS SELECT 1 AS n', name);
      await server.kill();
      await replica.promote();
      expect(await replica.sql('SELECT n FROM mail', name)).toEqual([{ n: 1 }]);
      await replica.sql('INSERT INTO mail VALUES (2)', name);
    } finally {
      await replica.close();
    }
  });
});

describe.skipIf(withoutPostgres() !== undefined)('a PostgreSQL that asks who one is', () => {
  it('takes a password', async () => {
    const server = await PostgresServer.start({ login: 'password' });
    try {
      const client = new Client(await server.freshUrl());
      await client.connect();
      await client.end();
      const other = new Client(server.url('postgres').replace('secret', 'guess'));
      await expect(other.connect()).rejects.toThrow('password authentication failed');
    } finally {
      await server.close();
    }
  });

  it('takes a certificate', async () => {
    const server = await PostgresServer.start({ login: 'certificate' });
    try {
      const client = new Client(await server.freshUrl());
      await client.connect();
      await client.end();
    } finally {
      await server.close();
    }
  });
});
