-- The object store's id of each file's upload, so that an upload can continue when Redis has lost its state.

CREATE TABLE uploads (
    message_id   uuid PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    upload_id    text NOT NULL,                  -- the store's own id; the store lists its parts
    total        integer NOT NULL CHECK (total BETWEEN 1 AND 10000),   -- chunks, the same in each of their requests
    media_type   text,                           -- as sent with chunk 1; NULL: guessed from the name at the end
    created_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz                     -- the room has the message; a repeated chunk is answered from here
);
