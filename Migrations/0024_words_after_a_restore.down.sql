-- The index belongs to 0017; only a database that had lost it got it here.
SELECT 1;
