-- What a tus client said of its upload: it is to be told it again, as it wrote it.
ALTER TABLE uploads ADD COLUMN metadata text;
