-- Files of imported messages that are kept elsewhere: `GET /files/{message}` leads there. Few messages have one, so it is no
-- column of theirs. No foreign key: a forwarded message shows the link of the first message of its chain, also when that is
-- gone.
CREATE TABLE file_links (
    message_id uuid PRIMARY KEY,                 -- the message of the file, never a forwarded one
    url        text NOT NULL
);

-- However the last message that shows the link is deleted or removed, the link goes: a trigger, because then no program can
-- forget it.
CREATE FUNCTION forget_file_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    original uuid := coalesce(OLD.forwarded_from, OLD.id);
BEGIN
    -- Of two that end at the same moment in different rooms, the second one waits, and then sees the end of the first.
    PERFORM FROM file_links l WHERE l.message_id = original FOR UPDATE;
    DELETE FROM file_links l WHERE l.message_id = original AND NOT EXISTS (
        SELECT FROM messages m WHERE m.id = original AND m.deleted_at IS NULL
        UNION ALL SELECT FROM messages m WHERE m.forwarded_from = original AND m.deleted_at IS NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER messages_forget_file_link AFTER UPDATE OF deleted_at ON messages FOR EACH ROW
    WHEN (OLD.content_type <> 1 AND OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION forget_file_link();
CREATE TRIGGER messages_forget_file_link_too AFTER DELETE ON messages FOR EACH ROW
    WHEN (OLD.content_type <> 1) EXECUTE FUNCTION forget_file_link();

-- A file of before may be imported again: what a user has said before this moment does not come back with it.
CREATE TABLE erased_users (
    user_id   uuid PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);
