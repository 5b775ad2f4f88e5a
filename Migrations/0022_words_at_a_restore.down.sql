ALTER FUNCTION chat_room_words(uuid, bigint, text) RESET search_path;
