-- The metadata that a tus client sent with its upload; it is returned unchanged.
ALTER TABLE uploads ADD COLUMN metadata text;
