-- What users set for themselves. No row: all defaults.
CREATE TABLE accounts (
    user_id        uuid PRIMARY KEY,
    hides_presence boolean NOT NULL DEFAULT false     -- nobody is told, or can ask, whether the user is here
);
