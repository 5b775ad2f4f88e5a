-- Changes when a part of a room's history was lost (a restore from a backup): Seqs are given a second time then, and a client
-- that kept its copy would take the new for the old. Another epoch tells it to drop the copy.
ALTER TABLE rooms ADD COLUMN epoch bigint NOT NULL DEFAULT 1;
