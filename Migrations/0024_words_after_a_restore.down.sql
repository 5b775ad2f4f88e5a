-- The index is 0017's; only a database that had lost it got it here.
SELECT 1;
