-- A restore of a dump that was made before 0022 ends without the index of words (see there), and 0017 has already run. Only such a
-- database gets a new index here; nobody uses it yet, so building it may block.
DO $$
BEGIN
    IF to_regclass('messages_room_words') IS NULL THEN
        CREATE INDEX messages_room_words ON messages USING gin (chat_room_words(room_id, seq, content))
            WITH (fastupdate = off) WHERE seq >= 32 AND message_type <> 4;
    END IF;
END $$;
