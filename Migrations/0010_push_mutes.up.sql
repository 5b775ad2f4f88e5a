-- Rooms whose news a user does not want on their devices. Outside of the room's order: nobody else sees it.

CREATE TABLE push_mutes (
    user_id uuid NOT NULL,
    room_id uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    until   timestamptz NOT NULL,              -- 'infinity': for good
    PRIMARY KEY (user_id, room_id)
);
