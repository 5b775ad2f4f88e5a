-- Full text search. A room's id is in the index, so that a word that is common elsewhere costs nothing here.
CREATE EXTENSION IF NOT EXISTS btree_gin;

-- The language stands in these three functions alone: `fcgi-api migrate up` replaces them when SEARCH_LANGUAGE says so,
-- and makes the index again. IMMUTABLE, because an index is made of the first.
CREATE FUNCTION chat_words(content text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector('simple'::regconfig, content);
CREATE FUNCTION chat_query(query text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsquery('simple'::regconfig, query);
-- The content with each match between U+0002 and U+0003, which no content has: the server refuses control characters.
CREATE FUNCTION chat_marked(content text, query text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ts_headline('simple'::regconfig, content, to_tsquery('simple'::regconfig, query),
        'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3));

-- Of what was deleted the content is empty, and so is its part of the index.
CREATE INDEX messages_words ON messages USING gin (room_id, chat_words(content)) WHERE message_type <> 4;
