-- pg_restore, and PostgreSQL 17 at every CREATE INDEX and REINDEX, evaluate index expressions with an empty search_path. The function
-- of the index of words then did not find the functions that it calls, and a restore ended without the index.
ALTER FUNCTION chat_room_words(uuid, bigint, text) SET search_path FROM CURRENT;
