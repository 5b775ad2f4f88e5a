DO $migration$
BEGIN
    EXECUTE format($function$
        CREATE OR REPLACE FUNCTION %1$I.chat_room_words(room uuid, seq bigint, content text) RETURNS tsvector
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
        DECLARE
            key text := %1$I.chat_room_key(room, seq >> 12);
            words text[] := tsvector_to_array(%1$I.chat_lexemes(content));
        BEGIN
            IF octet_length(content) > 200 THEN
                SELECT array_agg(left(w, 200)) INTO words FROM unnest(words) w;
            END IF;
            RETURN array_to_tsvector(string_to_array(key || array_to_string(words, E'\x01' || key), E'\x01'));
        END $$
        $function$, (SELECT nspname FROM pg_namespace WHERE oid = (
            SELECT pronamespace FROM pg_proc WHERE oid = 'chat_room_words(uuid, bigint, text)'::regprocedure)));
END $migration$;
