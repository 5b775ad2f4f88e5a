-- Devices of other push services than FCM. A table of its own: programs of the previous release send every row of
-- user_devices to FCM, and would delete these as unknown.
CREATE TABLE user_endpoints (
    user_id    uuid NOT NULL,
    -- Made of the kind and a hash of the address, so that the same device has the same id for all of its users.
    device     text COLLATE "C" NOT NULL,
    kind       smallint NOT NULL,                -- PushKind: 2 Web Push, 3 APNs, 4 webhook
    address    text NOT NULL,                    -- the URL of a subscription, or the token
    public_key bytea,                            -- p256dh and auth of a Web Push subscription
    secret     bytea,
    -- Whether it takes pushes that show nothing: browsers on iOS end a subscription that gets them.
    silent     boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, device)
);

-- To count the users of a device, and to delete a device that is gone for all of them.
CREATE INDEX user_endpoints_of_device ON user_endpoints (device);

-- Pushes only for messages that mention the user, and for PRIVATE rooms. Quiet hours: minutes of the day in a time zone.
ALTER TABLE accounts
    ADD COLUMN push_mentions boolean NOT NULL DEFAULT false,
    ADD COLUMN quiet_from smallint,
    ADD COLUMN quiet_to smallint,
    ADD COLUMN quiet_zone text;

-- In such a silenced room mentions are still pushed.
ALTER TABLE push_mutes ADD COLUMN mentions boolean NOT NULL DEFAULT false;

-- Messages whose answers are not pushed to a user. The number per user is limited. There is no foreign key to messages,
-- because each purge would have to check it.
CREATE TABLE thread_mutes (
    user_id    uuid NOT NULL,
    message_id uuid NOT NULL,
    room_id    uuid NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    until      timestamptz NOT NULL,             -- 'infinity': for good
    mentions   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, message_id)
);

-- A push asks for the members of its room; a deleted room removes its rows.
CREATE INDEX thread_mutes_of_room ON thread_mutes (room_id, user_id);

-- NULL: the server does not know the time zone. An error would end the query of a whole room because of one member, for
-- example after a restore on a server with other time zones.
CREATE FUNCTION chat_minute_of_day(zone text, at timestamptz) RETURNS integer LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN extract(hour FROM at AT TIME ZONE zone) * 60 + extract(minute FROM at AT TIME ZONE zone);
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;
