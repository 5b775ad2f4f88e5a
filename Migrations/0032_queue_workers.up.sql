-- The workers that consume command queues now, on all hosts. Each worker computes its own queues from this list. The table is
-- unlogged, since it describes the present: after a crash, or on a promoted standby, it is empty for a second.
CREATE UNLOGGED TABLE queue_workers (
    host       text NOT NULL,                    -- the machine's name and RUN_DIR: two masters on one machine are two hosts
    slot       integer NOT NULL,                 -- the place in the host's pool; a successor takes the row over
    worker     uuid NOT NULL,                    -- the process
    generation integer NOT NULL,                 -- of the queues
    lines      text NOT NULL,                    -- its own queues with the tickets of its consumers: "0:17 4:18"
    working    text NOT NULL,                    -- the queues of which it is the active consumer, as far as it knows: "0 4"
    setting    text NOT NULL,                    -- the number of queues and their key, as the host's settings have them
    prefix     text NOT NULL,                    -- RABBITMQ_PREFIX of the host; two at once are refused
    seen_at    timestamptz NOT NULL,             -- by the database's clock; after 10 seconds the worker counts as dead
    PRIMARY KEY (host, slot)
);

-- Tickets order the consumers of a queue across hosts without a clock. The broker's line is in the order of arrival, so a consumer
-- with a smaller ticket than its queue's owner leaves the line and joins it again behind the owner.
CREATE SEQUENCE queue_tickets;
