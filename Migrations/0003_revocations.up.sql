-- Revoked tokens that have not expired. Every process that checks tokens reads new rows twice a second, from here only,
-- so a loss of Redis makes no revoked token valid again.

CREATE TABLE revocations (
    user_id       uuid,                          -- all of this user's tokens …
    issued_before timestamptz,                   -- … that were issued before (NULL with token_id)
    token_id      text,                          -- or the one with this `jti`
    revoked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz NOT NULL,          -- no token lives longer: the row may be removed
    CHECK ((user_id IS NULL) = (issued_before IS NULL) AND (user_id IS NULL) <> (token_id IS NULL))
);

-- For reading the new rows.
CREATE INDEX revocations_news ON revocations (revoked_at);
