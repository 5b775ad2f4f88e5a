-- Undelivered events for the host application: inserted by the transaction that causes them, deleted on delivery. There
-- is no reference to the room, because the deletion of a room is also an event.
CREATE TABLE hook_events (
    room_id    uuid NOT NULL,
    seq        bigint NOT NULL,                      -- 0: the room's creation
    name       text NOT NULL,
    body       bytea NOT NULL,                       -- JSON, as it is sent
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts   integer NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT now(),   -- not before this; also the end of a sender's lease
    dead_at    timestamptz,                          -- given up, kept until an operator retries or drops it
    last_error text,
    PRIMARY KEY (room_id, seq)
);

CREATE INDEX hook_events_due ON hook_events (next_at) WHERE dead_at IS NULL;
