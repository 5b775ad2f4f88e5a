-- outside a transaction
-- `GET /rooms/{id}/messages?Metadata.kind=`: messages of one kind may be few among millions. A text of more than 64 bytes
-- does not count as a kind, so every kind fits into the index. An interrupted try leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS messages_of_kind;
CREATE INDEX CONCURRENTLY messages_of_kind ON messages (room_id, (metadata->>'kind'), seq)
    WHERE octet_length(metadata->>'kind') BETWEEN 1 AND 64;
