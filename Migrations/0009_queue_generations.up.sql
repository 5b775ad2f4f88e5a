-- The command queues. Another number of queues, or another hash key, is another generation with its own queues;
-- an earlier generation is finished before the next one is consumed, so that no room has two orders.

CREATE TABLE queue_generations (
    generation integer PRIMARY KEY,              -- from 1; senders use the newest
    total      integer NOT NULL CHECK (total BETWEEN 1 AND 1000),
    by_user    boolean NOT NULL,                 -- RABBITMQ_HASH_KEY=user
    setting    text NOT NULL,                    -- the settings when it was made: a change of them makes the next one
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz,                      -- the broker accepts nothing more for it, and its end marks are sent
    drained_at timestamptz,                      -- every end mark was reached: the next one is consumed
    removed_at timestamptz                       -- its queues are deleted
);

-- Reached end marks: everything before them in that queue is stored.
CREATE TABLE queue_ends (
    generation integer NOT NULL REFERENCES queue_generations (generation) ON DELETE CASCADE,
    queue      integer NOT NULL,
    PRIMARY KEY (generation, queue)
);
