-- What is to be looked at, of each owner the oldest first: whoever sends many files waits for them, and nobody else does.
CREATE INDEX uploads_to_look_at_of_owner ON uploads (owner, completed_at)
    WHERE completed_at IS NOT NULL AND looked_at IS NULL;
