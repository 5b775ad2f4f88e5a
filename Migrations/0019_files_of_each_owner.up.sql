-- Files to inspect, oldest first for each owner: an owner of many files delays only their own.
CREATE INDEX uploads_to_look_at_of_owner ON uploads (owner, completed_at)
    WHERE completed_at IS NOT NULL AND looked_at IS NULL;
