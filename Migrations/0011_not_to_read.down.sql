DROP INDEX messages_not_to_read, rooms_deleted;
