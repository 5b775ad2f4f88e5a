DROP TABLE audit;
DROP TABLE server_keys;
