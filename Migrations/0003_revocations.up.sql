-- Revoked tokens that have not expired. Every process that checks tokens reads new rows twice a second, and nothing
-- else: so a loss of Redis lets nobody back in.

CREATE TABLE revocations (
    user_id       uuid,                          -- all of this user's tokens …
    issued_before timestamptz,                   -- … that were issued before (NULL with token_id)
    token_id      text,                          -- or the one with this `jti`
    revoked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz NOT NULL,          -- no token lives longer: the row may go
    CHECK ((user_id IS NULL) = (issued_before IS NULL) AND (user_id IS NULL) <> (token_id IS NULL))
);

-- "What is new?"
CREATE INDEX revocations_news ON revocations (revoked_at);
