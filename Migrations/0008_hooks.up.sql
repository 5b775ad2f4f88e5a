-- What the host application has not been told yet: put in by the transaction that makes it happen, and taken out when it
-- is delivered. No reference to the room: the end of a room is to be told, too.
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
