-- outside a transaction
-- `GET /users?q=`: users by the beginnings of the words of their names. An interrupted try leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS users_by_name;

-- The words of a name. PostgreSQL's parser would treat ann.other, ann@x and ann/other as one word each.
CREATE OR REPLACE FUNCTION chat_name_words(name text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector('simple'::regconfig, translate(name, '.,@/_:+-#&()', '            '));

CREATE INDEX CONCURRENTLY users_by_name ON users USING gin (chat_name_words(name)) WHERE name <> '';
