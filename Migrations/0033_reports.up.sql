-- Reports of messages and users by users. They have no Seq: fcgi-api writes them, beside the order of the room.
CREATE TABLE reports (
    id            uuid PRIMARY KEY,              -- UUIDv7: the order of a queue
    reporter_id   uuid NOT NULL,
    reported_id   uuid NOT NULL,                 -- the sender of the message, or the user
    -- NULL: a report of a user. There is no reference to the room: inserting would wait for the lock that its writer holds.
    -- A room that is removed for good takes its messages, and these their reports.
    room_id       uuid,
    message_id    uuid REFERENCES messages (id) ON DELETE CASCADE,
    content       text,                          -- the message's at that time; NULL: a report of a user, or erased
    file_name     text,
    change_seq    bigint,                        -- the message's then: which version the copy is
    against_admin boolean NOT NULL,              -- the reported user managed the room then: it hides the reporter for good
    reason        smallint NOT NULL,             -- 1 spam, 2 abuse, 3 violence, 4 sexual, 5 illegal, 6 other
    text          text NOT NULL,
    state         smallint NOT NULL CHECK (state BETWEEN 1 AND 4),     -- 1 open, 2 reviewing, 3 resolved, 4 dismissed
    note          text NOT NULL DEFAULT '',
    handled_by    uuid,                          -- the last moderator; NULL with handled_at: the host application
    handled_key   text,                          -- the key that the host used
    handled_at    timestamptz,
    version       integer NOT NULL,              -- counts changes, so that two at once do not overwrite each other
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);

-- One report of each message and of each user by the same reporter. The first also finds the reports of a message that is
-- removed for good.
CREATE UNIQUE INDEX reports_of_message ON reports (message_id, reporter_id) WHERE message_id IS NOT NULL;
CREATE UNIQUE INDEX reports_of_user ON reports (reported_id, reporter_id) WHERE message_id IS NULL;
-- The number of a reporter's open reports; the texts of an erased reporter.
CREATE INDEX reports_by_reporter ON reports (reporter_id, state);
-- The copies of an erased user's messages.
CREATE INDEX reports_by_reported ON reports (reported_id) WHERE message_id IS NOT NULL;
-- The queues of a room and of the host.
CREATE INDEX reports_in_room ON reports (room_id, state, id) WHERE room_id IS NOT NULL;
CREATE INDEX reports_in_state ON reports (state, id);
-- Closed reports that are old enough to be removed.
CREATE INDEX reports_closed ON reports (updated_at) WHERE state >= 3;
