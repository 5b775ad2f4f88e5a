-- Users as the host application describes them. A user may be in rooms without a row here.
CREATE TABLE users (
    id             uuid PRIMARY KEY,
    -- The host's own id if it is not a UUID: `id` is then the UUIDv5 of its bytes. Bytes are compared.
    external_id    text COLLATE "C",
    name           text NOT NULL DEFAULT '',
    avatar         text NOT NULL DEFAULT '',
    -- A JSON object of the host, unchanged.
    metadata       text NOT NULL DEFAULT '{}',
    deactivated_at timestamptz,
    -- Grows with each change, so that a writer with a cached user notices it.
    version        bigint NOT NULL DEFAULT 1,
    -- The claims of the newest token. A claim counts only when it changes, so it does not undo later changes by the host.
    claimed_name   text,
    claimed_avatar text,
    claimed_at     timestamptz NOT NULL DEFAULT 'epoch',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

-- One row: values that must never change in the life of an installation.
CREATE TABLE installation (
    is_the_one     boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    -- The namespace for users whose ids are texts. Written by the first `migrate up` after this migration.
    user_namespace uuid NOT NULL
);
