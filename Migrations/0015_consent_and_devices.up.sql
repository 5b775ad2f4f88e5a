-- The users who may add this user to a room: 1 everybody, 2 users who share a room with them, 3 nobody.
ALTER TABLE accounts ADD COLUMN added_by smallint NOT NULL DEFAULT 1;

-- By the blocked user: a relay reads it for each user who connects, because a block hides presence.
CREATE INDEX blocks_of_blocked ON blocks (blocked);

-- Devices by user. Several users may have one token: a user who learns another's token cannot take away their pushes.
CREATE TABLE user_devices (
    user_id    uuid NOT NULL,
    token      text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, token)
);

-- To count the users of a device, and to delete a device that FCM no longer knows for all of them.
CREATE INDEX user_devices_of_token ON user_devices (token);

INSERT INTO user_devices (user_id, token, updated_at) SELECT user_id, token, updated_at FROM devices;

-- Programs of the previous release write to `devices` until they are replaced.
CREATE FUNCTION chat_device_of_old_program() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        DELETE FROM user_devices WHERE user_id = OLD.user_id AND token = OLD.token;
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO user_devices (user_id, token) VALUES (NEW.user_id, NEW.token)
        ON CONFLICT (user_id, token) DO UPDATE SET updated_at = clock_timestamp();
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER devices_of_old_programs AFTER INSERT OR UPDATE OR DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION chat_device_of_old_program();
