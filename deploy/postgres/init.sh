#!/bin/sh
# Once, on a new primary: the roles and the database. The tables are made by the first gateway.
# Passwords are read from the files gateway-password and replicator-password in SECRETS; psql has to reach the server as its
# superuser (as it does in the container, and as the user postgres on Debian).
set -eu
secrets=${SECRETS:-/run/secrets}
GATEWAY_PASSWORD=$(cat "$secrets/gateway-password")
REPLICATOR_PASSWORD=$(cat "$secrets/replicator-password")
export GATEWAY_PASSWORD REPLICATOR_PASSWORD
# There is no standby yet that a commit could wait for.
export PGOPTIONS='-c synchronous_commit=local'
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set gateway `echo "$GATEWAY_PASSWORD"`
\set replicator `echo "$REPLICATOR_PASSWORD"`
CREATE ROLE gateway LOGIN PASSWORD :'gateway';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
CREATE DATABASE mail OWNER gateway TEMPLATE template0 ENCODING 'UTF8';
SELECT slot_name FROM pg_create_physical_replication_slot('standby') \g /dev/null
SQL
