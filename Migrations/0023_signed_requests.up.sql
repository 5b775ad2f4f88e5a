-- The request of each Idempotency-Key: another request with the same key is refused, and a retry of an invitation does
-- not bring back a user who has left since. Messages store their own Sign.
CREATE TABLE signed_requests (
    user_id uuid NOT NULL,
    -- The kind of the request and its Sign.
    sign text COLLATE "C" NOT NULL,
    digest uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, sign)
);
-- For removing old rows.
CREATE INDEX signed_requests_by_age ON signed_requests (created_at);
