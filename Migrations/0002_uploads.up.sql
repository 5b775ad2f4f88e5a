-- The object store's id of each file's upload, so that an upload can continue when Redis has lost its state.

CREATE TABLE uploads (
    message_id   uuid PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    upload_id    text NOT NULL,                  -- the store's own id; its parts are asked of the store
    total        integer NOT NULL CHECK (total BETWEEN 1 AND 10000),   -- chunks, the same in each of their requests
    media_type   text,                           -- as chunk 1 came with it; NULL: guessed from the name at the end
    created_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz                     -- the message is the room's; a chunk that comes again is answered from here
);
