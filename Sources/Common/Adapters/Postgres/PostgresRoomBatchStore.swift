public import ChatCore

/// A batch is two round trips: one that begins, locks and loads, one that writes and commits.
public final class PostgresRoomBatchStore: RoomBatchStore {
    private let connection: PostgresConnection
    private let limits: RoomSettings
    /// What happens is also put where webhooks are sent from.
    private let hasHooks: Bool

    public init(_ connection: PostgresConnection, limits: RoomSettings, hasHooks: Bool = false) {
        self.connection = connection
        self.limits = limits
        self.hasHooks = hasHooks
    }

    public func abandon() { connection.close() }

    // MARK: Loading

    /// A statement and what its rows mean. One row may come twice.
    private typealias Part = (sql: SQL, read: (PGRow, inout RoomBatch) -> Void)

    public func load(for commands: [Command], now: Int64) throws(StoreError) -> RoomBatch {
        let parts = parts(BatchNeeds(commands))
        var batch = RoomBatch(limits: limits, now: now)
        let results: [PGRows]
        do { results = try connection.pipeline(["BEGIN"] + parts.map(\.sql)) } catch { throw StoreError(error) }
        for (part, rows) in zip(parts, results.dropFirst()) {
            for index in 0..<rows.count { part.read(rows[index], &batch) }
        }
        batch.begin()
        return batch
    }

    /// What no command of the batch needs is not asked for: most batches are messages of members, and a statement costs
    /// the server the same whether it finds nothing.
    private func parts(_ needs: BatchNeeds) -> [Part] {
        var parts: [Part] = [
            (rooms(needs), Self.readRoom), (members(needs), Self.readMember), (wholeRooms(needs), Self.readMember),
            (privateRoomBlocks(needs), Self.readBlock),
        ]
        if !needs.roomSigns.isEmpty { parts.append((creators(needs), Self.readMember)) }
        if !needs.messages.isEmpty { parts.append((messages(needs), Self.readMessage)) }
        if !needs.signs.isEmpty { parts.append((signedMessages(needs), Self.readMessage)) }
        if !needs.forwarded.isEmpty {
            parts.append((readable(needs), { $1.readable.insert(.init($0.uuid(0), $0.uuid(1))) }))
        }
        if !needs.commands.isEmpty {
            parts.append((events(needs), { $1.done[$0.uuid(0), default: []].append(RoomFrame(event: $0, at: 1)) }))
        }
        if !needs.pairOnes.isEmpty { parts.append((pairBlocks(needs), Self.readBlock)) }
        if !needs.seenCommands.isEmpty {
            parts.append((seenCounts(needs), { $1.seenCounts[$0.uuid(0)] = .init(all: $0.int8(1), own: $0.int8(2)) }))
        }
        if !needs.conditionalEdits.isEmpty {
            parts.append((lastEdits(needs), { $1.editSeqs[$0.uuid(0)] = $0.int8(1) }))
        }
        if !needs.pinRooms.isEmpty {
            parts.append((pinned(needs), { $1.pinned[$0.uuid(0), default: []].insert($0.uuid(1)) }))
        }
        if !needs.invitations.isEmpty { parts.append((invitations(needs), Self.readInvitation)) }
        if !needs.erasedRooms.isEmpty { parts.append((touched(needs), Self.readMessage)) }
        if !needs.purgedRooms.isEmpty {
            parts.append(
                (
                    old(needs),
                    {
                        $1.oldMessages[$0.uuid(0), default: []].append(
                            .init(seq: $0.int8(1), sender: $0.uuid(2), counts: $0.bool(3)))
                    }
                ))
        }
        if !needs.inviters.isEmpty { parts.append((relatedInvitations(needs), Self.readInvitation)) }
        return parts
    }

    private static func readRoom(_ row: PGRow, _ batch: inout RoomBatch) {
        let room = Room(row)
        batch.rooms[room.id] = room
        if let sign = room.createdSign { batch.roomsBySign[.init(room.createdBy, sign)] = room.id }
    }

    private static func readMember(_ row: PGRow, _ batch: inout RoomBatch) {
        let member = Member(row)
        batch.members[.init(member.roomID, member.userID)] = member
    }

    private static func readMessage(_ row: PGRow, _ batch: inout RoomBatch) {
        let message = Message(row)
        batch.messages[message.id] = message
        if let sign = message.sign { batch.messagesBySign[.init(message.senderID, sign)] = message }
    }

    private static func readBlock(_ row: PGRow, _ batch: inout RoomBatch) {
        batch.blocks.insert(.init(blocker: row.uuid(0), blocked: row.uuid(1)))
    }

    private static func readInvitation(_ row: PGRow, _ batch: inout RoomBatch) {
        let invitation = Invitation(row)
        batch.invitations[invitation.id] = invitation
    }

    /// In the order of ids, so that two writers cannot wait for each other.
    private func rooms(_ needs: BatchNeeds) -> SQL {
        guard !needs.roomSigns.isEmpty else {
            return """
                SELECT \(unsafeSQL: Room.columns) FROM rooms r WHERE r.id = ANY(\(needs.rooms)) ORDER BY r.id FOR UPDATE
                """
        }
        // The ids first: as one condition with OR, no index serves it.
        return """
            SELECT \(unsafeSQL: Room.columns) FROM rooms r
            WHERE r.id = ANY(\(needs.rooms) || ARRAY(
                SELECT c.id FROM unnest(\(needs.roomSignOwners), \(.texts(needs.roomSigns))) n (owner, sign)
                JOIN rooms c ON c.created_by = n.owner AND c.created_sign = n.sign))
            ORDER BY r.id FOR UPDATE
            """
    }

    private func members(_ needs: BatchNeeds) -> SQL {
        """
        SELECT \(unsafeSQL: Member.columns)
        FROM unnest(\(needs.memberRooms), \(needs.memberUsers)) n (room_id, user_id)
        JOIN members p USING (room_id, user_id)
        """
    }

    private func wholeRooms(_ needs: BatchNeeds) -> SQL {
        """
        SELECT \(unsafeSQL: Member.columns) FROM rooms r JOIN members p ON p.room_id = r.id
        WHERE r.id = ANY(\(needs.rooms)) AND (r.type = 1 OR r.id = ANY(\(needs.wholeRooms)))
        """
    }

    /// Those who made a room with one of these Signs before, in it.
    private func creators(_ needs: BatchNeeds) -> SQL {
        """
        SELECT \(unsafeSQL: Member.columns)
        FROM unnest(\(needs.roomSignOwners), \(.texts(needs.roomSigns))) n (owner, sign)
        JOIN rooms c ON c.created_by = n.owner AND c.created_sign = n.sign
        JOIN members p ON p.room_id = c.id AND p.user_id = c.created_by
        """
    }

    private func messages(_ needs: BatchNeeds) -> SQL {
        "SELECT \(unsafeSQL: Message.columns) FROM messages m WHERE m.id = ANY(\(needs.messages))"
    }

    private func signedMessages(_ needs: BatchNeeds) -> SQL {
        """
        SELECT \(unsafeSQL: Message.columns) FROM unnest(\(needs.signSenders), \(.texts(needs.signs))) n (sender_id, sign)
        JOIN messages m USING (sender_id, sign)
        """
    }

    private func readable(_ needs: BatchNeeds) -> SQL {
        """
        SELECT m.id, f.user_id FROM unnest(\(needs.forwarded), \(needs.forwarders)) f (message_id, user_id)
        JOIN messages m ON m.id = f.message_id
        JOIN members p ON p.room_id = m.room_id AND p.user_id = f.user_id
        JOIN rooms r ON r.id = m.room_id
        WHERE p.left_at IS NULL AND p.banned_at IS NULL AND r.deleted_at IS NULL
        """
    }

    /// What these commands did when they came before: their changes, and the SYSTEM message right behind each.
    private func events(_ needs: BatchNeeds) -> SQL {
        """
        SELECT e.command_id, \(unsafeSQL: RoomFrame.eventColumns) FROM room_events e
        LEFT JOIN messages m ON m.id = e.message_id
        WHERE e.command_id = ANY(\(needs.commands))
        UNION ALL
        SELECT e.command_id, m.seq, \(.int2(Int16(FrameKind.newMessage.rawValue))), NULL, m.id, '{}', '{}', 0::int2, NULL,
            m.room_id, \(unsafeSQL: Message.columns)
        FROM room_events e JOIN messages m ON m.room_id = e.room_id AND m.seq = e.seq + 1 AND m.message_type = 4
        WHERE e.command_id = ANY(\(needs.commands))
        ORDER BY 2
        """
    }

    private func privateRoomBlocks(_ needs: BatchNeeds) -> SQL {
        """
        SELECT b.blocker, b.blocked FROM rooms r
        JOIN members a ON a.room_id = r.id JOIN members o ON o.room_id = r.id
        JOIN blocks b ON b.blocker = a.user_id AND b.blocked = o.user_id
        WHERE r.id = ANY(\(needs.rooms)) AND r.type = 1
        """
    }

    private func pairBlocks(_ needs: BatchNeeds) -> SQL {
        """
        SELECT b.blocker, b.blocked FROM unnest(\(needs.pairOnes), \(needs.pairOthers)) n (one, other)
        JOIN blocks b ON (b.blocker, b.blocked) IN ((n.one, n.other), (n.other, n.one))
        """
    }

    private func seenCounts(_ needs: BatchNeeds) -> SQL {
        """
        SELECT s.command_id, c.total, c.own
        FROM unnest(\(needs.seenCommands), \(needs.seenRooms), \(needs.seenUsers), \(.int8s(needs.seenSeqs)))
            s (command_id, room_id, user_id, seq)
        JOIN members p ON p.room_id = s.room_id AND p.user_id = s.user_id
        CROSS JOIN LATERAL (
            SELECT count(*) AS total, count(*) FILTER (WHERE m.sender_id = s.user_id) AS own FROM messages m
            WHERE m.room_id = s.room_id AND m.seq > p.last_seen_seq AND m.seq <= s.seq AND m.message_type <> 4
        ) c
        """
    }

    private func lastEdits(_ needs: BatchNeeds) -> SQL {
        """
        SELECT message_id, max(change_seq) FROM message_edits
        WHERE message_id = ANY(\(needs.conditionalEdits)) GROUP BY message_id
        """
    }

    private func pinned(_ needs: BatchNeeds) -> SQL {
        "SELECT room_id, id FROM messages WHERE room_id = ANY(\(needs.pinRooms)) AND pinned_at IS NOT NULL"
    }

    private func invitations(_ needs: BatchNeeds) -> SQL {
        "SELECT \(unsafeSQL: Invitation.columns) FROM invitations i WHERE i.id = ANY(\(needs.invitations))"
    }

    /// Those that were made with the same Sign, and the room's open ones.
    private func relatedInvitations(_ needs: BatchNeeds) -> SQL {
        """
        SELECT \(unsafeSQL: Invitation.columns)
        FROM unnest(\(needs.inviters), \(.texts(needs.inviteSigns))) n (created_by, sign)
        JOIN invitations i USING (created_by, sign)
        UNION
        SELECT \(unsafeSQL: Invitation.columns) FROM invitations i
        WHERE i.room_id = ANY(\(needs.inviteRooms)) AND i.revoked_at IS NULL
        """
    }

    /// What a user wrote, or reacted to. A walk through the room, which the statement's time limit bounds.
    private func touched(_ needs: BatchNeeds) -> SQL {
        """
        SELECT \(unsafeSQL: Message.columns) FROM unnest(\(needs.erasedRooms), \(needs.erasedUsers)) n (room_id, user_id)
        CROSS JOIN LATERAL (
            SELECT * FROM messages m WHERE m.room_id = n.room_id AND (
                m.sender_id = n.user_id AND m.deleted_at IS NULL AND m.message_type <> 4
                OR m.reactions IS NOT NULL AND m.reactions::text LIKE '%' || n.user_id::text || '%')
            ORDER BY m.seq LIMIT \(Int64(RoomBatch.hostPart))
        ) m
        """
    }

    private func old(_ needs: BatchNeeds) -> SQL {
        """
        SELECT m.room_id, m.seq, m.sender_id, m.message_type <> 4
        FROM unnest(\(needs.purgedRooms), \(.times(needs.purgedBefore))) n (room_id, before)
        CROSS JOIN LATERAL (
            SELECT * FROM messages m WHERE m.room_id = n.room_id ORDER BY m.seq LIMIT \(Int64(RoomBatch.hostPart))
        ) m
        WHERE m.created_at < n.before ORDER BY m.room_id, m.seq
        """
    }

    // MARK: Storing

    public func store(_ batch: RoomBatch) throws(StoreError) {
        var statements: [SQL] = []
        let rooms = batch.newRooms.map { batch.rooms[$0]! }
        if !rooms.isEmpty { statements.append(insert(rooms)) }
        let changed = batch.changedRooms.subtracting(batch.newRooms).sorted().map { batch.rooms[$0]! }
        if !changed.isEmpty { statements.append(update(changed)) }
        if !batch.changedMembers.isEmpty {
            statements.append(upsert(batch.changedMembers.map { batch.members[$0]! }))
        }
        if !batch.newMessages.isEmpty { statements.append(insert(batch.newMessages.map { batch.messages[$0]! })) }
        let edited = batch.changedMessages.subtracting(batch.newMessages).sorted().map { batch.messages[$0]! }
        if !edited.isEmpty { statements.append(update(edited)) }
        if !batch.events.isEmpty { statements.append(insert(batch.events)) }
        if !batch.edits.isEmpty { statements.append(insert(batch.edits)) }
        let deleted = edited.filter { $0.deletedAt != nil }.map(\.id)
        if !deleted.isEmpty { statements.append("DELETE FROM message_edits WHERE message_id = ANY(\(deleted))") }
        if !batch.changedInvitations.isEmpty {
            statements.append(upsert(batch.changedInvitations.sorted().map { batch.invitations[$0]! }))
        }
        for (room, seq) in batch.purged.sorted(by: { $0.key < $1.key }) {
            statements.append("DELETE FROM messages WHERE room_id = \(room) AND seq <= \(seq)")
            statements.append("DELETE FROM room_events WHERE room_id = \(room) AND seq <= \(seq)")
        }
        if hasHooks {
            let events = batch.hookEvents()
            if !events.isEmpty { statements.append(PostgresHookOutbox.insert(events)) }
        }
        statements.append("COMMIT")
        do { _ = try connection.pipeline(statements) } catch { throw StoreError(error) }
    }

    private func insert(_ rooms: [Room]) -> SQL {
        """
        INSERT INTO rooms (id, type, name, description, avatar, owner_id, member_count, member_limit, last_seq,
            message_count, last_message_seq, last_activity_at, created_at, created_by,
            created_sign)
        SELECT * FROM unnest(\(rooms.map(\.id)), \(.int2s(rooms.map(\.type.rawValue))), \(.texts(rooms.map(\.name))),
            \(.texts(rooms.map(\.description))), \(.texts(rooms.map(\.avatar))), \(rooms.map(\.ownerID)),
            \(.int4s(rooms.map { Int32($0.memberCount) })), \(.int4s(rooms.map { $0.memberLimit.map { Int32($0) } })),
            \(.int8s(rooms.map(\.lastSeq))), \(.int8s(rooms.map(\.messageCount))),
            \(.int8s(rooms.map(\.lastMessageSeq))), \(.times(rooms.map(\.lastActivityAt))),
            \(.times(rooms.map(\.createdAt))), \(rooms.map(\.createdBy)), \(.texts(rooms.map(\.createdSign))))
        """
    }

    private func update(_ rooms: [Room]) -> SQL {
        """
        UPDATE rooms r SET name = n.name, description = n.description, avatar = n.avatar, owner_id = n.owner_id,
            member_count = n.member_count, member_limit = n.member_limit, last_seq = n.last_seq,
            message_count = n.message_count, last_message_seq = n.last_message_seq,
            last_activity_at = n.last_activity_at, deleted_at = n.deleted_at
        FROM unnest(\(rooms.map(\.id)), \(.texts(rooms.map(\.name))), \(.texts(rooms.map(\.description))),
            \(.texts(rooms.map(\.avatar))), \(rooms.map(\.ownerID)), \(.int4s(rooms.map { Int32($0.memberCount) })),
            \(.int4s(rooms.map { $0.memberLimit.map { Int32($0) } })), \(.int8s(rooms.map(\.lastSeq))),
            \(.int8s(rooms.map(\.messageCount))), \(.int8s(rooms.map(\.lastMessageSeq))),
            \(.times(rooms.map(\.lastActivityAt))), \(.times(rooms.map(\.deletedAt))))
            n (id, name, description, avatar, owner_id, member_count, member_limit, last_seq, message_count,
                last_message_seq, last_activity_at, deleted_at)
        WHERE r.id = n.id
        """
    }

    private func upsert(_ members: [Member]) -> SQL {
        """
        INSERT INTO members (room_id, user_id, role, last_seen_seq, seen_count, seen_sent_count, sent_count,
            muted_until, banned_at, joined_at, joined_seq, left_at)
        SELECT * FROM unnest(\(members.map(\.roomID)), \(members.map(\.userID)), \(.int2s(members.map(\.role.rawValue))),
            \(.int8s(members.map(\.lastSeenSeq))), \(.int8s(members.map(\.seenCount))),
            \(.int8s(members.map(\.seenSentCount))), \(.int8s(members.map(\.sentCount))),
            \(.times(members.map(\.mutedUntil))), \(.times(members.map(\.bannedAt))), \(.times(members.map(\.joinedAt))),
            \(.int8s(members.map(\.joinedSeq))), \(.times(members.map(\.leftAt))))
        ON CONFLICT (room_id, user_id) DO UPDATE SET role = EXCLUDED.role, last_seen_seq = EXCLUDED.last_seen_seq,
            seen_count = EXCLUDED.seen_count, seen_sent_count = EXCLUDED.seen_sent_count,
            sent_count = EXCLUDED.sent_count, muted_until = EXCLUDED.muted_until, banned_at = EXCLUDED.banned_at,
            joined_at = EXCLUDED.joined_at, joined_seq = EXCLUDED.joined_seq, left_at = EXCLUDED.left_at
        """
    }

    private func insert(_ messages: [Message]) -> SQL {
        """
        INSERT INTO messages (id, room_id, sender_id, seq, change_seq, content, content_type, message_type,
            parent_message_id, forwarded_from, sign, status, file_name, file_size, file_content_type, file_thumbnail,
            reactions, edited_at, deleted_at, created_at, pinned_at, file_media)
        SELECT * FROM unnest(\(messages.map(\.id)), \(messages.map(\.roomID)), \(messages.map(\.senderID)),
            \(.int8s(messages.map(\.seq))), \(.int8s(messages.map(\.changeSeq))), \(.texts(messages.map(\.content))),
            \(.int2s(messages.map(\.contentType.rawValue))), \(.int2s(messages.map(\.messageType.rawValue))),
            \(.uuids(messages.map(\.parentMessageID))), \(.uuids(messages.map(\.forwardedFrom))),
            \(.texts(messages.map(\.sign))), \(.int2s(messages.map(\.status.rawValue))),
            \(.texts(messages.map(\.file?.name))), \(.int8s(messages.map(\.file?.size))),
            \(.texts(messages.map(\.file?.contentType))), \(.texts(messages.map(\.file?.thumbnailURL))),
            \(.texts(messages.map(\.reactions.json)))::jsonb[], \(.times(messages.map(\.editedAt))),
            \(.times(messages.map(\.deletedAt))), \(.times(messages.map(\.createdAt))),
            \(.times(messages.map(\.pinnedAt))),
            \(.texts(messages.map(\.file?.media?.json)))::jsonb[])
        """
    }

    private func update(_ messages: [Message]) -> SQL {
        """
        UPDATE messages m SET change_seq = n.change_seq, content = n.content, status = n.status,
            file_name = n.file_name, file_size = n.file_size, file_content_type = n.file_content_type,
            file_thumbnail = n.file_thumbnail, reactions = n.reactions, edited_at = n.edited_at,
            deleted_at = n.deleted_at, pinned_at = n.pinned_at, file_media = n.file_media
        FROM unnest(\(messages.map(\.id)), \(.int8s(messages.map(\.changeSeq))), \(.texts(messages.map(\.content))),
            \(.int2s(messages.map(\.status.rawValue))), \(.texts(messages.map(\.file?.name))),
            \(.int8s(messages.map(\.file?.size))), \(.texts(messages.map(\.file?.contentType))),
            \(.texts(messages.map(\.file?.thumbnailURL))), \(.texts(messages.map(\.reactions.json)))::jsonb[],
            \(.times(messages.map(\.editedAt))), \(.times(messages.map(\.deletedAt))),
            \(.times(messages.map(\.pinnedAt))),
            \(.texts(messages.map(\.file?.media?.json)))::jsonb[])
            n (id, change_seq, content, status, file_name, file_size, file_content_type, file_thumbnail, reactions,
                edited_at, deleted_at, pinned_at, file_media)
        WHERE m.id = n.id
        """
    }

    private func insert(_ events: [RoomBatch.Event]) -> SQL {
        // Lists of lists are not what unnest is for: each list of users is the MessagePack-free text of its array.
        """
        INSERT INTO room_events (room_id, seq, command_id, actor_id, sign, kind, message_id, joined, departed, fields,
            body, created_at)
        SELECT room_id, seq, command_id, actor_id, sign, kind, message_id, joined::uuid[], departed::uuid[], fields,
            body, created_at
        FROM unnest(\(events.map(\.room)), \(.int8s(events.map { Int64($0.frame.seq) })), \(events.map(\.commandID)),
            \(events.map(\.actor)), \(.texts(events.map(\.frame.sign))),
            \(.int2s(events.map { Int16($0.frame.kind.rawValue) })), \(.uuids(events.map(\.message))),
            \(.texts(events.map { arrayText($0.frame.joined) })), \(.texts(events.map { arrayText($0.frame.left) })),
            \(.int2s(events.map { $0.message == nil ? Int16($0.frame.body.fieldCount) : 0 })),
            \(.byteses(events.map { $0.message == nil ? $0.frame.body.bytes : nil })), \(.times(events.map(\.at))))
            e (room_id, seq, command_id, actor_id, sign, kind, message_id, joined, departed, fields, body, created_at)
        """
    }

    private func arrayText(_ ids: [UUID128]) -> String { "{" + ids.map(\.description).joined(separator: ",") + "}" }

    private func insert(_ edits: [RoomBatch.Edit]) -> SQL {
        """
        INSERT INTO message_edits (message_id, change_seq, content, edited_at)
        SELECT * FROM unnest(\(edits.map(\.message)), \(.int8s(edits.map(\.changeSeq))), \(.texts(edits.map(\.before))),
            \(.times(edits.map(\.at))))
        """
    }

    private func upsert(_ invitations: [Invitation]) -> SQL {
        """
        INSERT INTO invitations (id, room_id, token, created_by, sign, expires_at, max_uses, uses, created_at, revoked_at)
        SELECT * FROM unnest(\(invitations.map(\.id)), \(invitations.map(\.roomID)),
            \(.texts(invitations.map(\.token))), \(invitations.map(\.createdBy)), \(.texts(invitations.map(\.sign))),
            \(.times(invitations.map(\.expiresAt))), \(.int4s(invitations.map { $0.maxUses.map { Int32($0) } })),
            \(.int4s(invitations.map { Int32($0.uses) })), \(.times(invitations.map(\.createdAt))),
            \(.times(invitations.map(\.revokedAt))))
        ON CONFLICT (id) DO UPDATE SET uses = EXCLUDED.uses, revoked_at = EXCLUDED.revoked_at
        """
    }
}

extension StoreError {
    init(_ error: PostgresError) {
        // 23505: another writer stored the same Sign or room a moment ago. Loading again finds it.
        self.init(error.description, isTransient: error.isTransient || error.state == "23505")
    }
}
