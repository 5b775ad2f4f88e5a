-- Settings of users. Without a row, the defaults apply.
CREATE TABLE accounts (
    user_id        uuid PRIMARY KEY,
    hides_presence boolean NOT NULL DEFAULT false     -- nobody is told, or can ask, whether the user is here
);
