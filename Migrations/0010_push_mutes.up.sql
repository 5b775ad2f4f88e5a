-- Rooms for which a user wants no pushes. Outside of the room's order: nobody else sees it.

CREATE TABLE push_mutes (
    user_id uuid NOT NULL,
    room_id uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    until   timestamptz NOT NULL,              -- 'infinity': for good
    PRIMARY KEY (user_id, room_id)
);
