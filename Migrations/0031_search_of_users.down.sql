DROP INDEX users_by_name;
DROP FUNCTION chat_name_words(text);
