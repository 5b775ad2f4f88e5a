ALTER TABLE room_events DROP COLUMN only_sender;
