public import ChatCore

/// A batch takes two round trips: one begins, locks and loads, the other writes and commits. A batch of plain messages
/// to cached rooms is a single statement.
public final class PostgresRoomBatchStore: RoomBatchStore {
    let connection: PostgresConnection
    let limits: RoomSettings
    /// The events that are also written to the webhook outbox.
    let hooks: Set<HookFamily>
    var hasHooks: Bool { !hooks.isEmpty }
    private let hasReplica: Bool
    var known = KnownRooms()
    /// The current batch comes from the cache; no row is locked.
    var isFromMemory = false

    public init(
        _ connection: PostgresConnection, limits: RoomSettings, hooks: Set<HookFamily> = [], hasReplica: Bool = false
    ) {
        self.connection = connection
        self.limits = limits
        self.hooks = hooks.intersection(HookFamily.ofRooms)
        self.hasReplica = hasReplica
    }

    public func abandon() { connection.close() }

    /// A separate statement, because a statement in the batch's transaction would run before the commit.
    public func position() throws(StoreError) -> Int64? {
        try hasReplica ? PostgresLogPosition(connection).position() : nil
    }

    // MARK: Loading

    /// A statement, and how its rows are read. A row may occur twice.
    private typealias Part = (sql: SQL, read: (PGRow, inout RoomBatch) -> Void)

    public func load(for commands: [Command], now: Int64) throws(StoreError) -> RoomBatch {
        isFromMemory = false
        if !hasHooks, let batch = known.batch(for: commands, limits: limits, now: now) {
            isFromMemory = true
            return batch
        }
        let parts = parts(BatchNeeds(commands))
        var batch = RoomBatch(limits: limits, now: now)
        let results: [PGRows]
        do { results = try connection.pipeline(["BEGIN"] + parts.map(\.sql)) } catch { throw StoreError(error) }
        for (part, rows) in zip(parts, results.dropFirst()) {
            for index in 0..<rows.count { part.read(rows[index], &batch) }
        }
        known.compare(batch)
        batch.begin()
        return batch
    }

    /// Loads only what the batch needs. Most batches are messages of members, and a statement costs the server the same
    /// when it finds nothing.
    private func parts(_ needs: BatchNeeds) -> [Part] {
        var parts: [Part] = [(rooms(needs), Self.readRoom), (members(needs), Self.readMember)]
        if !needs.wholeRooms.isEmpty { parts.append((wholeRooms(needs), Self.readMember)) }
        if !needs.pairRooms.isEmpty { parts.append((privateRoomBlocks(needs), Self.readBlock)) }
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
        if !needs.added.isEmpty {
            parts.append((refusedAdds(needs), { $1.refusedAdds.insert(.init($0.uuid(0), $0.uuid(1))) }))
        }
        if !needs.newcomers.isEmpty {
            parts.append((roomCounts(needs), { $1.roomCounts[$0.uuid(0)] = Int($0.int8(1)) }))
        }
        if !needs.profiles.isEmpty {
            parts.append((profiles(needs), { $1.profiles[$0.uuid(0)] = Profile($0, at: 1) }))
        }
        if !needs.entering.isEmpty {
            parts.append((madeCounts(needs), { $1.madeCounts[.init($0.uuid(0), $0.uuid(1))] = Int($0.int8(2)) }))
        }
        return parts + rareParts(needs)
    }

    private func rareParts(_ needs: BatchNeeds) -> [Part] {
        var parts: [Part] = []
        if !needs.requestSigns.isEmpty {
            parts.append((requests(needs), { $1.requests[.init($0.uuid(0), $0.text(1))] = $0.uuid(2) }))
        }
        if !needs.banRooms.isEmpty {
            parts.append((bannedStrangers(needs), { $1.bannedStrangers[$0.uuid(0)] = Int($0.int8(1)) }))
        }
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
            parts.append((old(needs), Self.readOld))
        }
        if !needs.inviters.isEmpty { parts.append((relatedInvitations(needs), Self.readInvitation)) }
        return parts
    }

    private static func readOld(_ row: PGRow, _ batch: inout RoomBatch) {
        batch.oldMessages[row.uuid(0), default: []].append(
            .init(seq: row.int8(1), sender: row.uuid(2), counts: row.bool(3)))
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

    /// Ordered by id to prevent deadlocks between two writers.
    private func rooms(_ needs: BatchNeeds) -> SQL {
        guard !needs.roomSigns.isEmpty else {
            return """
                SELECT \(unsafeSQL: Room.columns) FROM rooms r WHERE r.id = ANY(\(needs.rooms)) ORDER BY r.id FOR UPDATE
                """
        }
        // The ids first: no index serves the same condition written with OR.
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
        SELECT \(unsafeSQL: Member.columns) FROM members p WHERE p.room_id = ANY(\(needs.wholeRooms))
        """
    }

    /// Creators of rooms that were made with one of these Signs, as members of them.
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
        WHERE \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
        """
    }

    /// The effects of redelivered commands: their changes, and the SYSTEM message that follows each.
    private func events(_ needs: BatchNeeds) -> SQL {
        """
        SELECT e.command_id, \(unsafeSQL: RoomFrame.eventColumns) FROM room_events e
        LEFT JOIN messages m ON m.id = e.message_id
        WHERE e.command_id = ANY(\(needs.commands))
        UNION ALL
        SELECT e.command_id, m.seq, \(.int2(Int16(FrameKind.newMessage.rawValue))), NULL, m.id, '{}', '{}', 0::int2, NULL,
            m.room_id, \(unsafeSQL: Message.columns)
        FROM room_events e JOIN messages m ON m.room_id = e.room_id AND m.seq = e.seq + 1
            AND \(unsafeSQL: Message.isSystem())
        WHERE e.command_id = ANY(\(needs.commands))
        ORDER BY 2
        """
    }

    private func privateRoomBlocks(_ needs: BatchNeeds) -> SQL {
        """
        SELECT b.blocker, b.blocked FROM rooms r
        JOIN members a ON a.room_id = r.id JOIN members o ON o.room_id = r.id
        JOIN blocks b ON b.blocker = a.user_id AND b.blocked = o.user_id
        WHERE r.id = ANY(\(needs.pairRooms)) AND \(unsafeSQL: Room.isPrivate())
        """
    }

    private func pairBlocks(_ needs: BatchNeeds) -> SQL {
        """
        SELECT b.blocker, b.blocked FROM unnest(\(needs.pairOnes), \(needs.pairOthers)) n (one, other)
        JOIN blocks b ON (b.blocker, b.blocked) IN ((n.one, n.other), (n.other, n.one))
        """
    }

    /// Users whose setting does not let this actor add them.
    private func refusedAdds(_ needs: BatchNeeds) -> SQL {
        """
        SELECT n.actor, n.other FROM unnest(\(needs.adders), \(needs.added)) n (actor, other)
        JOIN accounts a ON a.user_id = n.other
        WHERE a.added_by = \(.int2(AddedBy.nobody.rawValue))
            OR a.added_by = \(.int2(AddedBy.shared.rawValue)) AND NOT EXISTS (
                SELECT FROM members p JOIN members o USING (room_id) JOIN rooms r ON r.id = room_id
                WHERE p.user_id = n.actor AND \(unsafeSQL: Member.active("p"))
                    AND o.user_id = n.other AND \(unsafeSQL: Member.active("o")) AND r.deleted_at IS NULL)
        """
    }

    /// Stops counting at the limit.
    private func roomCounts(_ needs: BatchNeeds) -> SQL {
        """
        SELECT n.user_id, c.rooms FROM unnest(\(Array(Set(needs.newcomers)))) n (user_id)
        CROSS JOIN LATERAL (
            SELECT count(*) AS rooms FROM (
                SELECT FROM members p JOIN rooms r ON r.id = p.room_id
                WHERE p.user_id = n.user_id AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
                LIMIT \(Int64(limits.roomsPerUser))
            ) p
        ) c
        """
    }

    private func profiles(_ needs: BatchNeeds) -> SQL {
        """
        SELECT n.id, \(unsafeSQL: Profile.column("n.id")) FROM unnest(\(Array(Set(needs.profiles)))) n (id)
        """
    }

    /// Stops counting at the limit.
    private func madeCounts(_ needs: BatchNeeds) -> SQL {
        """
        SELECT n.room_id, n.user_id, c.rooms
        FROM unnest(\(needs.enteredRooms), \(needs.enteredBy), \(needs.entering)) n (room_id, actor, user_id)
        LEFT JOIN rooms t ON t.id = n.room_id
        CROSS JOIN LATERAL (
            SELECT count(*) AS rooms FROM (
                SELECT FROM members p JOIN rooms r ON r.id = p.room_id
                WHERE p.user_id = n.user_id AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
                    AND \(unsafeSQL: Room.isShared()) AND r.created_by = COALESCE(t.created_by, n.actor)
                LIMIT \(Int64(limits.addedRooms))
            ) p
        ) c
        """
    }

    private func requests(_ needs: BatchNeeds) -> SQL {
        """
        SELECT s.user_id, s.sign, s.digest
        FROM unnest(\(needs.requestUsers), \(.texts(needs.requestSigns))) n (user_id, sign)
        JOIN signed_requests s USING (user_id, sign)
        """
    }

    /// A ban makes such a user's row with equal times. Stops counting at the limit.
    private func bannedStrangers(_ needs: BatchNeeds) -> SQL {
        """
        SELECT n.room_id, c.users FROM unnest(\(Array(Set(needs.banRooms)))) n (room_id)
        CROSS JOIN LATERAL (
            SELECT count(*) AS users FROM (
                SELECT FROM members p WHERE p.room_id = n.room_id AND p.left_at = p.joined_at
                LIMIT \(Int64(limits.bans))
            ) p
        ) c
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
            WHERE m.room_id = s.room_id AND m.seq > p.last_seen_seq AND m.seq <= s.seq
                AND \(unsafeSQL: Message.isOfUser())
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

    /// Invitations with the same Sign, and the room's open ones.
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

    /// Messages that a user wrote or reacted to. This scans the room; the statement's time limit bounds it.
    private func touched(_ needs: BatchNeeds) -> SQL {
        """
        SELECT \(unsafeSQL: Message.columns) FROM unnest(\(needs.erasedRooms), \(needs.erasedUsers)) n (room_id, user_id)
        CROSS JOIN LATERAL (
            SELECT * FROM messages m WHERE m.room_id = n.room_id AND (
                m.sender_id = n.user_id AND m.deleted_at IS NULL AND \(unsafeSQL: Message.isOfUser())
                OR m.reactions IS NOT NULL AND m.reactions::text LIKE '%' || n.user_id::text || '%')
            ORDER BY m.seq LIMIT \(Int64(RoomBatch.hostPart))
        ) m
        """
    }

    /// Those before the first newer one: an import appends messages that are older than the ones before them.
    private func old(_ needs: BatchNeeds) -> SQL {
        """
        SELECT m.room_id, m.seq, m.sender_id, \(unsafeSQL: Message.isOfUser())
        FROM unnest(\(needs.purgedRooms), \(.times(needs.purgedBefore))) n (room_id, before)
        CROSS JOIN LATERAL (
            SELECT f.*, bool_and(f.created_at < n.before) OVER (ORDER BY f.seq) AS is_old FROM (
                SELECT * FROM messages f WHERE f.room_id = n.room_id AND f.seq > 0
                ORDER BY f.seq LIMIT \(Int64(RoomBatch.hostPart))
            ) f
        ) m
        WHERE m.is_old ORDER BY m.room_id, m.seq
        """
    }
}

extension StoreError {
    init(_ error: PostgresError) {
        // 23505: another writer has just stored the same Sign or room. Loading again finds it.
        let isConflict = error.state == "23505"
        self.init(
            error.description, isTransient: error.isTransient || isConflict, isConflict: isConflict,
            isAway: error.isAway,
            silence: error.silence ?? .zero)
    }
}
