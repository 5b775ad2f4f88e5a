-- Search whose cost depends only on the searched rooms. The old index had one list per word over all rooms, so a word that
-- is common anywhere made every search for it slow. In the new index each word contains its room and a segment of 4,096
-- Seqs, so a look-up reads one room's words, newest segment first, and stops when the page is full. A room's first 31
-- messages are not indexed but read directly: most rooms are small, and their index would be larger than their messages.

-- The language of words: `fcgi-api migrate up` replaces this function when SEARCH_LANGUAGE changes, and rebuilds the
-- index. The function of migration 0006 has the language that is in use now.
DO $$
BEGIN
    EXECUTE format(
        'CREATE FUNCTION chat_language() RETURNS regconfig LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %L::regconfig',
        coalesce(substring(pg_get_functiondef('chat_query(text)'::regprocedure) FROM '''([a-z_]+)''::regconfig'), 'simple'));
END $$;

-- A text as it is compared: one spelling for what looks the same (NFKC: also full width), without the accents of Latin
-- and Greek letters, in small letters, with a blank in the place of punctuation, so that the parts of an address or of a
-- file name are words. Our own rules in place of the extension unaccent: an index must not change with a file of the
-- server. In Cyrillic only ё is folded: й is another letter than и, and the stemmers need it.
CREATE FUNCTION chat_plain(content text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF octet_length(content) = length(content) THEN
        RETURN regexp_replace(lower(content), '[\x01-\x1f\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]', ' ', 'g');
    END IF;
    content := normalize(regexp_replace(normalize(content, NFKD),
        '([A-Za-z\u00c0-\u024f\u0370-\u03ff])[\u0300-\u036f]+', '\1', 'g'), NFC);
    -- Of the second list's end nothing remains: soft hyphens, joiners, marks of byte order and of variants.
    content := translate(lower(content), U&'\03C2\00F8\0142\0111\00F0\0131\0127\0451\00AD\200B\200C\200D\2060\FEFF\FE0E\FE0F',
        U&'\03C3old\0064ih\0435');
    content := replace(replace(replace(replace(content, 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
    RETURN regexp_replace(content, '[\x01-\x1f\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f\u00a1-\u00a9\u00ab-\u00b1\u00b4-\u00b8\u00bb-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u3020\u30fb]',
        ' ', 'g');
END $$;

-- Scripts without blanks between words are indexed by pairs of letters: 我家在 becomes 我家 家在 在. The last letter
-- is alone, so that every letter begins an entry.
CREATE FUNCTION chat_spaced(plain text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF octet_length(plain) = length(plain)
        OR plain !~ '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]'
    THEN
        RETURN plain;
    END IF;
    RETURN regexp_replace(regexp_replace(plain,
        '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+)',
        ' \1 ', 'g'),
        '(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])',
        '\1 \1', 'g');
END $$;

CREATE FUNCTION chat_lexemes(content text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector(chat_language(), chat_spaced(chat_plain(content)));

-- The query for a text that a user typed. All its words must occur; the parts of one word (of an address, of a Chinese
-- phrase) must follow each other; the last word may be the beginning of a longer one. Only the first 200 letters of a
-- word count, and a word of more than 2,047 bytes is ignored: PostgreSQL's own limit. NULL or empty when the text
-- contains no word.
CREATE FUNCTION chat_lookup(query text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsquery(chat_language(), string_agg(phrase, ' & ' ORDER BY place)) FROM (
        SELECT g.place, string_agg('''' || left(w.word, 200) || '''' ||
            CASE WHEN length(w.word) > 200 OR w.place = cardinality(g.words) AND (g.place = g.number OR w.word ~
                '^[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]$')
            THEN ':*' ELSE '' END, ' <-> ' ORDER BY w.place) AS phrase
        FROM (
            -- At a word's end a last letter alone would ask for the end of a run.
            SELECT place, count(*) OVER () AS number, regexp_split_to_array(btrim(regexp_replace(
                chat_spaced(chat_plain(text)),
                '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]{2}) [\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff] *$',
                '\1')), ' +') AS words
            FROM regexp_split_to_table(normalize(query, NFKC), '[\s\u00a0\u2000-\u200a\u3000]+')
                WITH ORDINALITY AS t (text, place)
            WHERE chat_plain(text) ~ '[^ ]'
        ) g, unnest(g.words) WITH ORDINALITY AS w (word, place)
        GROUP BY g.place
    ) p
$$;

-- The prefix of each word of a room's segment in the index: 48 random bits of the room, and the segment.
CREATE FUNCTION chat_room_key(room uuid, segment bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN encode(substr(uuid_send(room), 11, 6), 'base64') || CASE segment WHEN 0 THEN '' ELSE to_hex(segment) END || ':';

CREATE FUNCTION chat_room_words(room uuid, seq bigint, content text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    key text := chat_room_key(room, seq >> 12);
    words text[] := tsvector_to_array(chat_lexemes(content));
BEGIN
    IF octet_length(content) > 200 THEN
        SELECT array_agg(left(w, 200)) INTO words FROM unnest(words) w;
    END IF;
    RETURN array_to_tsvector(string_to_array(key || array_to_string(words, E'\x01' || key), E'\x01'));
END $$;

CREATE TYPE chat_hit AS (room_id uuid, seq bigint, id uuid, at timestamptz);

-- The newest `most` matching messages for `me`, in one room or in all. `before_*` is the last one of the previous page.
--
-- Order: by time, then room, then Seq, all descending. Within a room it is always the order of Seqs: `at` is the time of
-- the message, or, if that is smaller, the time of a hit with a larger Seq in its room (a file's message has the time at
-- which its upload began). So a page ends in each room at one Seq, and the next page begins below it.
--
-- A loop and not one statement: only a loop guarantees that older segments and rooms are not read when the page is full.
CREATE FUNCTION chat_search(
    me uuid, only_room uuid, query text, before_at timestamptz, before_room uuid, before_seq bigint, most integer
) RETURNS SETOF chat_hit LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    wanted tsquery := chat_lookup(query);
    -- The same with U+0001 where the key of a room's segment goes. Phrases are looked at again.
    pattern text := regexp_replace(regexp_replace(wanted::text, '<[-0-9]+>', '&', 'g'),
        '''([^'']+)''', E'''\x01\\1''', 'g');
    is_phrase boolean := strpos(wanted::text, '<') > 0;
    -- Parts of every match, to pass over most messages quickly; a stemmer's words are no part of the text.
    parts text[] := CASE WHEN chat_language() = 'simple'::regconfig THEN
        ARRAY(SELECT '%' || w[1] || '%' FROM regexp_matches(wanted::text, '''([^'']+)''', 'g') w
            ORDER BY length(w[1]) DESC)
        ELSE '{}' END;
    hits chat_hit[] := '{}';
    cut timestamptz := '-infinity';
    mine record;
    hit record;
    top bigint;
    at timestamptz;
    is_inside boolean;
    number integer;
    segment bigint;
BEGIN
    -- One search per user at a time: one user must not occupy every worker.
    IF NOT pg_try_advisory_xact_lock(7224, hashtext(me::text)) THEN
        RAISE 'a search of this user is running' USING ERRCODE = 'lock_not_available';
    END IF;
    IF coalesce(numnode(wanted), 0) = 0 THEN RETURN; END IF;
    FOR mine IN
        SELECT r.id, r.last_message_seq, r.last_activity_at FROM members p JOIN rooms r ON r.id = p.room_id
        WHERE p.user_id = me AND (only_room IS NULL OR p.room_id = only_room)
            AND p.left_at IS NULL AND p.banned_at IS NULL AND r.deleted_at IS NULL
        ORDER BY r.last_activity_at DESC
    LOOP
        -- No message is newer than its room's last activity, but clocks of two machines differ.
        EXIT WHEN mine.last_activity_at + interval '1 hour' < cut;
        is_inside := before_at IS NULL OR mine.id = before_room;
        top := CASE WHEN mine.id = before_room THEN before_seq - 1 ELSE mine.last_message_seq END;
        at := CASE WHEN mine.id = before_room THEN before_at ELSE 'infinity' END;
        number := 0;
        segment := top >> 12;
        <<walk>>
        WHILE top >= 32 AND segment >= 0 LOOP
            FOR hit IN
                -- A condition on the room that no index takes, or the planner reads the room in order of Seq.
                SELECT o.* FROM (
                    SELECT m.seq, m.id, m.created_at FROM messages m
                    WHERE m.seq >= 32 AND m.message_type <> 4
                        AND chat_room_words(m.room_id, m.seq, m.content)
                            @@ replace(pattern, E'\x01', chat_room_key(mine.id, segment))::tsquery
                        AND m.room_id IS NOT DISTINCT FROM mine.id AND m.seq + 0 <= top
                        AND (m.status <> 2 OR m.sender_id = me)
                    ORDER BY m.seq DESC OFFSET 0
                ) o
                WHERE NOT is_phrase
                    OR EXISTS (SELECT FROM messages c WHERE c.id = o.id AND chat_lexemes(c.content) @@ wanted)
            LOOP
                IF NOT is_inside THEN
                    CONTINUE WHEN (hit.created_at, mine.id) >= (before_at, before_room);
                    is_inside := true;
                END IF;
                at := least(at, hit.created_at);
                EXIT walk WHEN at < cut;
                hits := hits || ROW(mine.id, hit.seq, hit.id, at)::chat_hit;
                number := number + 1;
                EXIT walk WHEN number >= most;
            END LOOP;
            segment := segment - 1;
        END LOOP;
        IF number < most AND at >= cut THEN
            FOR hit IN
                SELECT m.seq, m.id, m.created_at FROM messages m
                WHERE m.room_id = mine.id AND m.seq BETWEEN 1 AND 31 AND m.seq <= top AND m.message_type <> 4
                    AND (m.status <> 2 OR m.sender_id = me)
                    AND CASE WHEN CASE WHEN octet_length(m.content) = length(m.content) THEN lower(m.content)
                        ELSE chat_plain(m.content) END LIKE ALL (parts)
                    THEN chat_lexemes(m.content) @@ wanted ELSE false END
                ORDER BY m.seq DESC
            LOOP
                IF NOT is_inside THEN
                    CONTINUE WHEN (hit.created_at, mine.id) >= (before_at, before_room);
                    is_inside := true;
                END IF;
                at := least(at, hit.created_at);
                EXIT WHEN at < cut;
                hits := hits || ROW(mine.id, hit.seq, hit.id, at)::chat_hit;
                number := number + 1;
                EXIT WHEN number >= most;
            END LOOP;
        END IF;
        IF number > 0 THEN
            SELECT array_agg(h) INTO hits FROM (
                SELECT * FROM unnest(hits) ORDER BY at DESC, room_id DESC, seq DESC LIMIT most) h;
            IF cardinality(hits) >= most THEN cut := (hits[most]).at; END IF;
        END IF;
    END LOOP;
    RETURN QUERY SELECT * FROM unnest(hits);
END $$;

-- The text in its form for comparison, with each match between U+0002 and U+0003, which no content has. Positions are
-- those of `chat_plain`.
CREATE FUNCTION chat_found(content text, query text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    marked text := ts_headline(chat_language(), chat_plain(content), chat_lookup(query),
        'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3));
    run text;
BEGIN
    -- For the parser a run of letters without blanks is one word; longest first, as one may be a part of another.
    IF octet_length(query) <> length(query) THEN
        FOR run IN
            SELECT r[1] FROM regexp_matches(chat_plain(query),
                '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+',
                'g') r ORDER BY length(r[1]) DESC
        LOOP
            marked := replace(marked, run, chr(2) || run || chr(3));
        END LOOP;
    END IF;
    RETURN marked;
END $$;

-- The places at which `chat_plain` made a text longer or shorter: for each run of letters, and for the text between runs,
-- the number of characters before and after. NULL: every character kept its position.
CREATE FUNCTION chat_places(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN octet_length(content) = length(content) THEN NULL ELSE (
        SELECT string_agg(length(r[1]) || ':' || length(chat_plain(r[1])), ' ') FROM regexp_matches(content,
            '[\w\u0300-\u036f\u00ad\u200b-\u200d]+|[^\w\u0300-\u036f\u00ad\u200b-\u200d]+', 'g') r) END;
