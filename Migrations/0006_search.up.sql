-- Full text search. A room's id is in the index, so that a word that is common elsewhere costs nothing here.
CREATE EXTENSION IF NOT EXISTS btree_gin;

-- Only these three functions contain the language: `fcgi-api migrate up` replaces them when SEARCH_LANGUAGE changes,
-- and rebuilds the index. IMMUTABLE, because an index uses the first.
CREATE FUNCTION chat_words(content text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector('simple'::regconfig, content);
CREATE FUNCTION chat_query(query text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsquery('simple'::regconfig, query);
-- The content with each match between U+0002 and U+0003, which no content has: the server refuses control characters.
CREATE FUNCTION chat_marked(content text, query text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ts_headline('simple'::regconfig, content, to_tsquery('simple'::regconfig, query),
        'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3));

-- Deleted messages have no content, and so no index entries.
CREATE INDEX messages_words ON messages USING gin (room_id, chat_words(content)) WHERE message_type <> 4;
