DROP TABLE push_mutes;
