#!/bin/sh
# A standby that follows the primary, in the image of PostgreSQL: at its first start it copies all of the primary, at every
# start it goes on from what it has. PRIMARY is the name of the primary's machine. Words behind it go to the server.
set -eu
secrets=${SECRETS:-/run/secrets}
PGPASSWORD=$(cat "$secrets/replicator-password")
export PGPASSWORD
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # application_name is what synchronous_standby_names of the primary calls it.
  until pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --wal-method stream --checkpoint fast --slot standby \
    --dbname "host=$PRIMARY port=${PRIMARY_PORT:-5432} user=replicator application_name=standby"; do
    echo "The primary on $PRIMARY does not answer yet; again in 5 s" >&2
    sleep 5
  done
fi
unset PGPASSWORD
exec "${SERVER:-docker-entrypoint.sh}" postgres "$@"
