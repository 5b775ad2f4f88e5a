DROP TABLE invitations;
DROP INDEX messages_pinned;
ALTER TABLE messages DROP COLUMN pinned_at;
