-- New words wait in a list of the index, and the writer that fills it must insert them all: with the default of 4 MB
-- that was a
-- batch of 100 to 160 ms every 40,000 messages, for which the worker's other rooms waited. With 128 kB it is a few.
ALTER INDEX messages_words SET (gin_pending_list_limit = 128);
