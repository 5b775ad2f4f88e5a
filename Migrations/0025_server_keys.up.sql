-- Keys of the host application. Only a key's SHA-256 is stored: a reader of the table cannot use the key.
CREATE TABLE server_keys (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    name       text COLLATE "C" NOT NULL,
    -- 1 read, 2 write, 3 moderate, 4 admin; each includes those before it.
    scope      smallint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
-- The audit log names keys, so two keys that are valid at the same time have different names.
CREATE UNIQUE INDEX server_keys_in_use ON server_keys (name) WHERE revoked_at IS NULL;

-- Requests that were made with a key: which key, which operation, for which user, when. Rows older than AUDIT_DAYS are
-- removed.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    key_name   text NOT NULL,
    operation  text NOT NULL,
    path       text NOT NULL,
    -- The user for whom it was done; NULL: no particular user.
    user_id    uuid,
    -- The answer's HTTP status.
    status     smallint NOT NULL,
    request_id text NOT NULL
);
-- Entries that are old enough to be removed.
CREATE INDEX audit_by_time ON audit (at);
