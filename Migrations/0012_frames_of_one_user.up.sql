-- Marks changes that only the sender may see: those of a file before it was complete. The message itself cannot tell
-- later: once deleted, it looks the same whether or not the room ever saw it.

ALTER TABLE room_events ADD COLUMN only_sender boolean NOT NULL DEFAULT false;

-- kind 2: the frame of a file's completion.
UPDATE room_events e SET only_sender = true FROM messages m
WHERE m.id = e.message_id AND m.content_type <> 1 AND m.forwarded_from IS NULL AND NOT EXISTS (
    SELECT FROM room_events c
    WHERE c.room_id = e.room_id AND c.message_id = e.message_id AND c.kind = 2 AND c.seq <= e.seq);
