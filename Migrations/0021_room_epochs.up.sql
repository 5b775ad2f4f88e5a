-- Changes when a part of a room's history was lost (a restore from a backup). Then Seqs are given a second time, and a client
-- with a copy would mistake new messages for old ones. The new epoch tells it to drop the copy.
ALTER TABLE rooms ADD COLUMN epoch bigint NOT NULL DEFAULT 1;
