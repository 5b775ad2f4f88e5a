-- Pending files get a Seq at the end of their rooms, as the previous version gave them. Files that became complete meanwhile
-- keep theirs: everybody sees them in the history, but the previous version repeats their frames only to their senders.
LOCK TABLE rooms IN EXCLUSIVE MODE;
ALTER TABLE messages DROP CONSTRAINT messages_place;
DROP INDEX messages_pending;
DELETE FROM messages WHERE seq < 0 AND status = 4;
DROP INDEX messages_ended;

CREATE TEMPORARY TABLE file_messages ON COMMIT DROP AS
SELECT m.id, m.room_id, m.sender_id, r.last_seq + row_number() OVER (PARTITION BY m.room_id ORDER BY m.id) AS seq
FROM messages m JOIN rooms r ON r.id = m.room_id WHERE m.seq < 0;

UPDATE messages m SET seq = f.seq, change_seq = f.seq FROM file_messages f WHERE m.id = f.id;
UPDATE members p SET sent_count = p.sent_count + n.total
FROM (SELECT room_id, sender_id, count(*) AS total FROM file_messages GROUP BY room_id, sender_id) n
WHERE p.room_id = n.room_id AND p.user_id = n.sender_id;
UPDATE rooms r SET last_seq = n.seq, last_message_seq = n.seq, message_count = r.message_count + n.total
FROM (SELECT room_id, max(seq) AS seq, count(*) AS total FROM file_messages GROUP BY room_id) n
WHERE r.id = n.room_id;
