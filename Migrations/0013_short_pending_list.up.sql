-- New words wait in a list of the index, and the writer that fills the list must insert all of them. With the default of
-- 4 MB one batch every 40,000 messages took 100 to 160 ms, for which the worker's other rooms waited. With 128 kB it is a
-- few milliseconds.
ALTER INDEX messages_words SET (gin_pending_list_limit = 128);
