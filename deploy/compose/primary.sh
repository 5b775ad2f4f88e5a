#!/bin/bash
# Runs once, when the primary's data folder is created: allows standbys to connect.
set -euo pipefail
echo "host replication chat all scram-sha-256" >> "$PGDATA/pg_hba.conf"
cat >> "$PGDATA/postgresql.conf" <<'END'
wal_level = replica
max_wal_senders = 10
wal_keep_size = 256MB
hot_standby = on
END
