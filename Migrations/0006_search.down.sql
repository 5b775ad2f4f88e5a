DROP INDEX messages_words;
DROP FUNCTION chat_marked(text, text);
DROP FUNCTION chat_query(text);
DROP FUNCTION chat_words(text);
DROP EXTENSION btree_gin;
