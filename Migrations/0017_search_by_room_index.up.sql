-- outside a transaction
-- Nobody waits while the index is made: it may take minutes on a large table. A try that was cut off leaves an index that
-- is not valid, so each try begins by removing it. No pending list: a search would read all of it.
DROP INDEX CONCURRENTLY IF EXISTS messages_room_words;
CREATE INDEX CONCURRENTLY messages_room_words ON messages USING gin (chat_room_words(room_id, seq, content))
    WITH (fastupdate = off) WHERE seq >= 32 AND message_type <> 4;
-- The old one last: until here a program of the release before finds what it looks for. Its functions stay for that
-- program, which is slower until it is reloaded.
DROP INDEX CONCURRENTLY IF EXISTS messages_words;
