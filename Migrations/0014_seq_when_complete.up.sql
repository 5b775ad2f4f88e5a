-- A message gets its Seq when everybody may see it; a file's message gets it when the last chunk is stored. Until then `seq`
-- is a negative number, made of the bits of the message's id. It is no position, no client sees it, and it is unique in the
-- room. So the column and its unique index stay as they are, and programs of the previous version never meet a NULL there.
-- Queries for messages have `seq > 0`.

-- The records of uploads that were aborted or refused stay for a day, so that late chunks get the right answer.
CREATE INDEX messages_ended ON messages (deleted_at) WHERE seq < 0 AND status = 4;
-- A user's pending files, newest first.
CREATE INDEX messages_pending ON messages (sender_id, id) WHERE status = 2;
-- A program of the previous version would complete a file without giving it a Seq. NOT VALID: it does not apply to
-- existing rows, which are corrected below.
ALTER TABLE messages ADD CONSTRAINT messages_place CHECK (seq > 0 OR status IN (2, 4)) NOT VALID;

-- Rooms with files by the old rule: each file took a Seq that only its sender was told of, and another one when it was
-- complete. No batch is written meanwhile, since each batch first locks its rooms.
LOCK TABLE rooms IN EXCLUSIVE MODE;

CREATE TEMPORARY TABLE file_messages ON COMMIT DROP AS
SELECT m.id, m.room_id, m.sender_id, m.seq AS old_seq, c.seq AS new_seq, c.at,
    -1 - (('x' || right(replace(m.id::text, '-', ''), 16))::bit(64)::bigint & 4611686018427387903) AS no_seq
FROM messages m LEFT JOIN (
    -- kind 2: the frame of a file's completion.
    SELECT room_id, message_id, min(seq) AS seq, min(created_at) AS at FROM room_events
    WHERE kind = 2 AND message_id IS NOT NULL GROUP BY room_id, message_id
) c ON c.room_id = m.room_id AND c.message_id = m.id
WHERE m.content_type <> 1 AND m.forwarded_from IS NULL
    -- Without that frame and sent all the same: of this version, taken back and applied again.
    AND (c.seq IS NOT NULL OR m.status IN (2, 4));
CREATE INDEX ON file_messages (room_id);
ANALYZE file_messages;

-- For a member who has seen the old position but not the new one, the file becomes unread again.
UPDATE members p SET seen_count = p.seen_count - n.total, seen_sent_count = p.seen_sent_count - n.own
FROM (
    SELECT q.room_id, q.user_id, count(*) AS total, count(*) FILTER (WHERE f.sender_id = q.user_id) AS own
    FROM members q JOIN file_messages f ON f.room_id = q.room_id
    WHERE f.old_seq <= q.last_seen_seq AND (f.new_seq IS NULL OR f.new_seq > q.last_seen_seq)
    GROUP BY q.room_id, q.user_id
) n
WHERE p.room_id = n.room_id AND p.user_id = n.user_id;

-- A file that never became complete is not a message of the room yet.
UPDATE members p SET sent_count = p.sent_count - n.total
FROM (SELECT room_id, sender_id, count(*) AS total FROM file_messages WHERE new_seq IS NULL GROUP BY room_id, sender_id) n
WHERE p.room_id = n.room_id AND p.user_id = n.sender_id;

-- One more Seq for each of these rooms, by which a worker with a cached copy notices the change.
UPDATE rooms r SET last_seq = r.last_seq + 1, message_count = r.message_count - n.pending,
    last_message_seq = greatest(r.last_message_seq, n.newest)
FROM (
    SELECT room_id, count(*) FILTER (WHERE new_seq IS NULL) AS pending, max(new_seq) AS newest FROM file_messages
    GROUP BY room_id
) n
WHERE r.id = n.room_id;

-- Every member is told of every Seq of a room. The Seqs of the old rule, and the one above, become a change of the room
-- (kind 7) with `skipped`. Its five fields are MessagePack, as a relay puts them into a frame.
CREATE FUNCTION pg_temp.skipped(room uuid, seq bigint) RETURNS bytea LANGUAGE sql AS $$
    SELECT '\xa7'::bytea || 'Success' || '\xc3a5' || 'Error' || '\xa0a4' || 'Data' || '\x83a6' || 'RoomID' || '\xd924'
        || convert_to(room::text, 'UTF8') || '\xa6' || 'Change' || '\xa7' || 'skipped' || '\xa3' || 'Seq' || '\xcf'
        || int8send(seq) || '\xa6' || 'RoomID' || '\xd924' || convert_to(room::text, 'UTF8') || '\xa3' || 'Seq' || '\xcf'
        || int8send(seq)
$$;
UPDATE room_events SET kind = 7, message_id = NULL, sign = NULL, fields = 5, body = pg_temp.skipped(room_id, seq)
WHERE only_sender OR message_id IN (SELECT id FROM file_messages WHERE new_seq IS NULL);
DELETE FROM room_events e USING file_messages f WHERE e.room_id = f.room_id AND e.seq = f.new_seq;
UPDATE messages m SET seq = coalesce(f.new_seq, f.no_seq),
    change_seq = CASE WHEN f.new_seq IS NULL THEN f.no_seq ELSE m.change_seq END,
    created_at = coalesce(f.at, m.created_at)
FROM file_messages f WHERE m.id = f.id;
INSERT INTO room_events (room_id, seq, command_id, actor_id, kind, fields, body, created_at)
SELECT room_id, old_seq, id, sender_id, 7, 5, pg_temp.skipped(room_id, old_seq), now() FROM file_messages
UNION ALL
SELECT r.id, r.last_seq, gen_random_uuid(), r.owner_id, 7, 5, pg_temp.skipped(r.id, r.last_seq), now() FROM rooms r
WHERE r.id IN (SELECT room_id FROM file_messages);

-- `only_sender` is unused now. The previous version names it in its statements, so it stays until the next one.
