ALTER TABLE members DROP COLUMN last_sent_at;
ALTER TABLE rooms DROP COLUMN slow_mode_seconds;
