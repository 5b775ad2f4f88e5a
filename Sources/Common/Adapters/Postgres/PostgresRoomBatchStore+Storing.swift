public import ChatCore

/// Stores a batch's changes with one statement for each kind of change.
extension PostgresRoomBatchStore {
    public func store(_ batch: RoomBatch) throws(StoreError) {
        do throws(StoreError) {
            if isFromMemory { try storePlain(batch) } else { try storeAll(batch) }
            known.learn(batch)
        } catch {
            known.forget(batch.rooms.keys)
            throw error
        }
    }

    private func storeAll(_ batch: RoomBatch) throws(StoreError) {
        var statements: [SQL] = []
        let rooms = batch.newRooms.map { batch.rooms[$0]! }
        if !batch.newNames.isEmpty {
            statements.append(PostgresUsers.insert(batch.newNames.map { ($0.key, $0.value) }))
        }
        if !rooms.isEmpty { statements.append(RoomColumn.table.insert(rooms)) }
        let changed = batch.changedRooms.subtracting(batch.newRooms).sorted().map { batch.rooms[$0]! }
        if !changed.isEmpty { statements.append(RoomColumn.table.update(changed)) }
        if !batch.changedMembers.isEmpty {
            statements.append(MemberColumn.table.upsert(batch.changedMembers.map { batch.members[$0]! }))
        }
        // Changes first: one of them may free a Sign that a new message uses.
        let edited = batch.changedMessages.subtracting(batch.newMessages).sorted().map { batch.messages[$0]! }
        if !edited.isEmpty { statements.append(MessageColumn.table.update(edited)) }
        if !batch.newMessages.isEmpty {
            statements.append(MessageColumn.table.insert(batch.newMessages.map { batch.messages[$0]! }))
        }
        if !batch.events.isEmpty { statements.append(insert(batch.events)) }
        if !batch.newRequests.isEmpty {
            statements += [insert(batch.newRequests), Self.dropOldRequests]
        }
        if !batch.edits.isEmpty { statements.append(insert(batch.edits)) }
        let deleted = edited.filter { $0.deletedAt != nil }.map(\.id)
        if !deleted.isEmpty { statements.append("DELETE FROM message_edits WHERE message_id = ANY(\(deleted))") }
        if !batch.changedInvitations.isEmpty {
            let invitations = batch.changedInvitations.sorted().map { batch.invitations[$0]! }
            statements.append(InvitationColumn.table.upsert(invitations))
        }
        for (room, seq) in batch.purged.sorted(by: { $0.key < $1.key }) {
            statements.append("DELETE FROM messages WHERE room_id = \(room) AND seq BETWEEN 1 AND \(seq)")
            statements.append("DELETE FROM room_events WHERE room_id = \(room) AND seq <= \(seq)")
        }
        if hasHooks {
            let events = batch.hookEvents(hooks)
            if !events.isEmpty { statements.append(PostgresHookOutbox.insert(events)) }
        }
        statements.append("COMMIT")
        do { _ = try connection.pipeline(statements) } catch { throw StoreError(error) }
    }

    private func insert(_ events: [RoomBatch.RoomEvent]) -> SQL {
        // unnest cannot take arrays of arrays: each list of users is passed as an array literal, such as `{uuid,uuid}`.
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

    private func insert(_ requests: [(user: UUID128, sign: String, digest: UUID128)]) -> SQL {
        """
        INSERT INTO signed_requests (user_id, sign, digest)
        SELECT * FROM unnest(\(requests.map(\.user)), \(.texts(requests.map(\.sign))), \(requests.map(\.digest)))
        """
    }

    /// Each new request removes some old ones, so the rate limits bound their number.
    private static let dropOldRequests: SQL = """
        DELETE FROM signed_requests s USING (
            SELECT user_id, sign FROM signed_requests WHERE created_at < now() - interval '30 days'
            ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED
        ) o WHERE s.user_id = o.user_id AND s.sign = o.sign
        """

    private func arrayText(_ ids: [UUID128]) -> String { "{" + ids.map(\.description).joined(separator: ",") + "}" }

    private func insert(_ edits: [RoomBatch.Edit]) -> SQL {
        """
        INSERT INTO message_edits (message_id, change_seq, content, edited_at)
        SELECT * FROM unnest(\(edits.map(\.message)), \(.int8s(edits.map(\.changeSeq))), \(.texts(edits.map(\.before))),
            \(.times(edits.map(\.at))))
        """
    }
}
