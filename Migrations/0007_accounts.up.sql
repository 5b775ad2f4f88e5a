-- Settings of users. Without a row, the defaults apply.
CREATE TABLE accounts (
    user_id        uuid PRIMARY KEY,
    hides_presence boolean NOT NULL DEFAULT false     -- others neither get nor can read the user's presence
);
