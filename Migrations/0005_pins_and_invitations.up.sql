-- Pinned messages: a few per room, listed by room.
ALTER TABLE messages ADD COLUMN pinned_at timestamptz;
CREATE INDEX messages_pinned ON messages (room_id) WHERE pinned_at IS NOT NULL;

-- Links into a room. The room's only writer counts their uses, so the limit holds even if many users join at once.
CREATE TABLE invitations (
    id         uuid PRIMARY KEY,
    room_id    uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    token      text NOT NULL UNIQUE,             -- the secret in the link; 128 random bits
    created_by uuid NOT NULL,
    sign       text,                             -- the creator's Idempotency-Key
    expires_at timestamptz,                      -- NULL: never
    max_uses   integer,                          -- NULL: any number
    uses       integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE UNIQUE INDEX invitations_once ON invitations (created_by, sign) WHERE sign IS NOT NULL;
-- A room's open invitations, for its admins and for its limit.
CREATE INDEX invitations_open ON invitations (room_id) WHERE revoked_at IS NULL;
