-- outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS messages_of_kind;
