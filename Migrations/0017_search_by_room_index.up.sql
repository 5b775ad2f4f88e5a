-- outside a transaction
-- The index is built without blocking: it may take minutes on a large table. An interrupted try leaves an invalid
-- index, so each try begins by removing it. No pending list: a search would read all of it.
DROP INDEX CONCURRENTLY IF EXISTS messages_room_words;
CREATE INDEX CONCURRENTLY messages_room_words ON messages USING gin (chat_room_words(room_id, seq, content))
    WITH (fastupdate = off) WHERE seq >= 32 AND message_type <> 4;
-- The old index is removed last, so that programs of the previous release find messages until then. Its functions stay for
-- these programs, which are slower until they are reloaded.
DROP INDEX CONCURRENTLY IF EXISTS messages_words;
