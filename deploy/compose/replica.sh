#!/bin/bash
# A standby of the primary `postgres1`: copies it when the data folder is empty, then runs. This is the container's
# command.
set -euo pipefail
export PGPASSWORD=$POSTGRES_PASSWORD
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    until gosu postgres pg_basebackup -h postgres1 -U chat -D "$PGDATA" -X stream --checkpoint=fast; do sleep 1; done
    touch "$PGDATA/standby.signal"
    printf "primary_conninfo = 'application_name=%s user=chat password=%s host=postgres1 connect_timeout=2'\n" \
        "$(hostname)" "$POSTGRES_PASSWORD" >> "$PGDATA/postgresql.auto.conf"
    chown -R postgres:postgres "$PGDATA"
    chmod 0700 "$PGDATA"
fi
exec gosu postgres postgres
