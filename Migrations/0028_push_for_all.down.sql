DROP FUNCTION chat_minute_of_day(text, timestamptz);
DROP TABLE thread_mutes;
-- These rooms were silenced but for mentions: the previous release knows only silenced and not.
ALTER TABLE push_mutes DROP COLUMN mentions;
ALTER TABLE accounts DROP COLUMN push_mentions, DROP COLUMN quiet_from, DROP COLUMN quiet_to, DROP COLUMN quiet_zone;
DROP TABLE user_endpoints;
