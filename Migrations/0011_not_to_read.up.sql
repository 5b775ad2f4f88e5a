-- Unread counts leave out messages that cannot be read: deleted ones, and incomplete files. The index has only these, so
-- that a plain send costs nothing here.
CREATE INDEX messages_not_to_read ON messages (room_id, seq) INCLUDE (sender_id)
    WHERE status IN (2, 4) AND message_type <> 4;
-- Rooms that were deleted are removed for good after a time.
CREATE INDEX rooms_deleted ON rooms (deleted_at) WHERE deleted_at IS NOT NULL;
