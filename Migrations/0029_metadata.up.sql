-- A JSON object of the host application or its users; NULL: none. `json` keeps the text, so that numbers and the order of
-- keys stay as they were written. A column without a default rewrites no table.
ALTER TABLE messages ADD COLUMN metadata json;
ALTER TABLE rooms ADD COLUMN metadata json;
ALTER TABLE members ADD COLUMN metadata json;
