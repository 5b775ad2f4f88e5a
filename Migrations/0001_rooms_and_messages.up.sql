-- Rooms, their members, their messages, and every other change of a room's order.
--
-- Each room has one writer (queue-worker), which writes the first four tables; all others only read them.

CREATE TABLE rooms (
    id               uuid PRIMARY KEY,           -- UUIDv7; a PRIVATE room's is UUIDv5 of its two users
    type             smallint NOT NULL CHECK (type BETWEEN 1 AND 3),   -- 1 PRIVATE, 2 GROUP, 3 CHANNEL
    name             text NOT NULL DEFAULT '',
    description      text NOT NULL DEFAULT '',
    avatar           text NOT NULL DEFAULT '',
    owner_id         uuid NOT NULL,
    member_count     integer NOT NULL,
    member_limit     integer,                    -- NULL: the setting for its type
    last_seq         bigint NOT NULL DEFAULT 0,  -- the order of everything that happens in the room; creation is 0
    message_count    bigint NOT NULL DEFAULT 0,  -- users' messages ever sent: unread counts are subtracted from it
    last_message_seq bigint NOT NULL DEFAULT 0,  -- the newest message, so that a list of rooms finds it by key
    last_activity_at timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    created_by       uuid NOT NULL,              -- stays when the room gets another OWNER
    created_sign     text,                       -- the creator's Idempotency-Key
    deleted_at       timestamptz
);

-- The same (creator, Idempotency-Key) makes only one room, although the two requests may be in different queues.
CREATE UNIQUE INDEX rooms_once ON rooms (created_by, created_sign) WHERE created_sign IS NOT NULL;

CREATE TABLE members (
    room_id         uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id         uuid NOT NULL,
    role            smallint NOT NULL CHECK (role BETWEEN 1 AND 3),    -- 1 MEMBER, 2 ADMIN, 3 OWNER
    last_seen_seq   bigint NOT NULL DEFAULT 0,
    seen_count      bigint NOT NULL DEFAULT 0,   -- users' messages of the room up to last_seen_seq
    sent_count      bigint NOT NULL DEFAULT 0,   -- this member's own messages ever
    seen_sent_count bigint NOT NULL DEFAULT 0,   -- this member's own among seen_count
    muted_until     timestamptz,
    banned_at       timestamptz,
    joined_at       timestamptz NOT NULL,
    joined_seq      bigint NOT NULL,
    left_at         timestamptz,                 -- the row stays: receipts and a later return need it
    PRIMARY KEY (room_id, user_id)
);

-- "My rooms", for lists and for a socket that connects.
CREATE INDEX members_of_user ON members (user_id) WHERE left_at IS NULL AND banned_at IS NULL;

CREATE TABLE messages (
    id                uuid PRIMARY KEY,          -- UUIDv7, made where the command was accepted
    room_id           uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq               bigint NOT NULL,
    change_seq        bigint NOT NULL,           -- the room's Seq of this message's newest change
    sender_id         uuid NOT NULL,
    sign              text,
    content           text NOT NULL,
    content_type      smallint NOT NULL,
    message_type      smallint NOT NULL,
    parent_message_id uuid,
    forwarded_from    uuid,
    status            smallint NOT NULL,
    file_name         text,
    file_size         bigint,
    file_content_type text,
    file_thumbnail    text,
    reactions         jsonb,                     -- NULL: none. Written whole by the only writer, read with the row
    edited_at         timestamptz,
    deleted_at        timestamptz,
    created_at        timestamptz NOT NULL
);

-- The order itself; a page of history is one range of it.
CREATE UNIQUE INDEX messages_in_order ON messages (room_id, seq);
-- `changed_since`: only messages that changed after they were sent, so that a plain send costs nothing here.
CREATE INDEX messages_changed ON messages (room_id, change_seq) WHERE change_seq > seq;
-- The same (sender, Sign) is stored once, forever.
CREATE UNIQUE INDEX messages_once ON messages (sender_id, sign) WHERE sign IS NOT NULL;

-- Every change of a room's order that is not a new message, so that each Seq can be repeated exactly when Redis
-- has lost it. A change of a message is repeated from the message itself (so deleted content is gone here too).
CREATE TABLE room_events (
    room_id    uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq        bigint NOT NULL,
    command_id uuid NOT NULL,                    -- identifies a redelivered command
    actor_id   uuid NOT NULL,
    sign       text,
    kind       smallint NOT NULL,                -- FrameKind
    message_id uuid,                             -- for message_updated
    joined     uuid[] NOT NULL DEFAULT '{}',
    departed   uuid[] NOT NULL DEFAULT '{}',
    fields     smallint NOT NULL DEFAULT 0,      -- entries in body
    body       bytea,                            -- the frame's fields, MessagePack; NULL with message_id
    created_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, seq)
);

CREATE INDEX room_events_of_command ON room_events (command_id);

CREATE TABLE message_edits (
    message_id uuid NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    change_seq bigint NOT NULL,
    content    text NOT NULL,                    -- as it was before
    edited_at  timestamptz NOT NULL,
    PRIMARY KEY (message_id, change_seq)
);

-- `blocker` does not want PRIVATE rooms with `blocked`.
CREATE TABLE blocks (
    blocker    uuid NOT NULL,
    blocked    uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (blocker, blocked)
);

CREATE TABLE devices (
    token      text PRIMARY KEY,                 -- an FCM registration token belongs to one user at a time
    user_id    uuid NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX devices_of_user ON devices (user_id);
