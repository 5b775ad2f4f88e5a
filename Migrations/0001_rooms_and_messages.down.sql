DROP TABLE devices;
DROP TABLE blocks;
DROP TABLE message_edits;
DROP TABLE room_events;
DROP TABLE messages;
DROP TABLE members;
DROP TABLE rooms;
