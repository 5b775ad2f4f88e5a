-- Users as the host application describes them. A user may be in rooms without a row here.
CREATE TABLE users (
    id             uuid PRIMARY KEY,
    -- The host's own id where that is no UUID: `id` is then the UUIDv5 of its bytes. Bytes are compared.
    external_id    text COLLATE "C",
    name           text NOT NULL DEFAULT '',
    avatar         text NOT NULL DEFAULT '',
    -- A JSON object of the host's, as it was given.
    metadata       text NOT NULL DEFAULT '{}',
    deactivated_at timestamptz,
    -- Grows with each change: a writer that remembers a user sees by it that they changed.
    version        bigint NOT NULL DEFAULT 1,
    -- The claims of the newest token. A claim counts when it changes, so that it does not undo what the host has set since.
    claimed_name   text,
    claimed_avatar text,
    claimed_at     timestamptz NOT NULL DEFAULT 'epoch',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

-- One row: values that must never change in the life of an installation.
CREATE TABLE installation (
    is_the_one     boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    -- The namespace of ids of users that the host names by text. Written by the first `migrate up` behind this one.
    user_namespace uuid NOT NULL
);
