DROP TRIGGER devices_of_old_programs ON devices;
DROP FUNCTION chat_device_of_old_program();
DELETE FROM devices;
-- One user per token again: the one who registered it last.
INSERT INTO devices (token, user_id, updated_at)
    SELECT DISTINCT ON (token) token, user_id, updated_at FROM user_devices ORDER BY token, updated_at DESC;
DROP TABLE user_devices;
DROP INDEX blocks_of_blocked;
ALTER TABLE accounts DROP COLUMN added_by;
