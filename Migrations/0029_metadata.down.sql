ALTER TABLE messages DROP COLUMN metadata;
ALTER TABLE rooms DROP COLUMN metadata;
ALTER TABLE members DROP COLUMN metadata;
