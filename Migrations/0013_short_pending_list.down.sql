ALTER INDEX messages_words RESET (gin_pending_list_limit);
