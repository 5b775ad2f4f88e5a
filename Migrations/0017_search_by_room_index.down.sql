-- outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS messages_words;
CREATE INDEX CONCURRENTLY messages_words ON messages USING gin (room_id, chat_words(content))
    WITH (gin_pending_list_limit = 128) WHERE message_type <> 4;
DROP INDEX CONCURRENTLY IF EXISTS messages_room_words;
