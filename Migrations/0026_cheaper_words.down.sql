CREATE OR REPLACE FUNCTION chat_lexemes(content text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector(chat_language(), chat_spaced(chat_plain(content)));
CREATE OR REPLACE FUNCTION chat_room_words(room uuid, seq bigint, content text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
DECLARE
    key text := chat_room_key(room, seq >> 12);
    words text[] := tsvector_to_array(chat_lexemes(content));
BEGIN
    IF octet_length(content) > 200 THEN
        SELECT array_agg(left(w, 200)) INTO words FROM unnest(words) w;
    END IF;
    RETURN array_to_tsvector(string_to_array(key || array_to_string(words, E'\x01' || key), E'\x01'));
END $$;
