-- In slow mode a MEMBER sends one message in so many seconds; 0: off. A constant default rewrites no table, and an earlier
-- version, which does not name the column, still makes rooms.
ALTER TABLE rooms ADD COLUMN slow_mode_seconds integer NOT NULL DEFAULT 0;
-- When the member's newest message in slow mode was accepted. It is stored, since a worker that takes the room over must
-- refuse the same messages; NULL: none yet.
ALTER TABLE members ADD COLUMN last_sent_at timestamptz;
