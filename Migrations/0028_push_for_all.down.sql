DROP FUNCTION chat_minute_of_day(text, timestamptz);
DROP TABLE thread_mutes;
-- These rooms were silenced except for mentions, which the previous release does not support.
ALTER TABLE push_mutes DROP COLUMN mentions;
ALTER TABLE accounts DROP COLUMN push_mentions, DROP COLUMN quiet_from, DROP COLUMN quiet_to, DROP COLUMN quiet_zone;
DROP TABLE user_endpoints;
