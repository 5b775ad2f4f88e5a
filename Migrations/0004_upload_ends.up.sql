-- Data for the sweeper and for quotas.

-- A file's row outlives the message's row until the store has deleted the file, so that nothing remains there.
ALTER TABLE uploads DROP CONSTRAINT uploads_message_id_fkey;

ALTER TABLE uploads
    ADD COLUMN owner       uuid,                       -- the message's sender, whose quota counts it
    ADD COLUMN size        bigint NOT NULL DEFAULT 0,  -- bytes: reserved during the upload, the object's when complete
    ADD COLUMN length      bigint,                     -- bytes, if the client announced them (tus)
    ADD COLUMN fence       bigint NOT NULL DEFAULT 0,  -- of the lock under which it began: no older holder can end it
    ADD COLUMN looked_at   timestamptz,                -- when queue-worker inspected it: thumbnail, size, location
    ADD COLUMN released_at timestamptz;                -- its message, or another that shows the file, was deleted

UPDATE uploads u SET owner = m.sender_id, size = coalesce(m.file_size, 0) FROM messages m WHERE m.id = u.message_id;

UPDATE uploads SET looked_at = now() WHERE completed_at IS NOT NULL;
-- Details found by inspecting the file (Width, Height, Orientation, BlurHash, Duration); NULL: none.
ALTER TABLE messages ADD COLUMN file_media jsonb;

-- Files to inspect, in the order of their completion.
CREATE INDEX uploads_to_look_at ON uploads (completed_at) WHERE completed_at IS NOT NULL AND looked_at IS NULL;
-- The sum of one user's files.
CREATE INDEX uploads_of_owner ON uploads (owner) INCLUDE (size);
-- Rows for the sweeper: a few of many.
CREATE INDEX uploads_released ON uploads (released_at) WHERE released_at IS NOT NULL;
CREATE INDEX messages_uploading ON messages (created_at) WHERE status = 2;
-- Messages that show a file besides its own message.
CREATE INDEX messages_forwarded ON messages (forwarded_from) WHERE forwarded_from IS NOT NULL;

-- A deleted message's file must be checked again. A trigger does it, so that it works for every way of deletion.
CREATE FUNCTION release_upload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE uploads SET released_at = now() WHERE message_id = coalesce(OLD.forwarded_from, OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER messages_release_upload AFTER UPDATE OF deleted_at ON messages FOR EACH ROW
    WHEN (OLD.content_type <> 1 AND OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION release_upload();
CREATE TRIGGER messages_release_upload_too AFTER DELETE ON messages FOR EACH ROW
    WHEN (OLD.content_type <> 1) EXECUTE FUNCTION release_upload();
