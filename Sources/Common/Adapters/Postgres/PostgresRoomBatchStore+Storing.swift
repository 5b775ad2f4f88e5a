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
        if !rooms.isEmpty { statements.append(insert(rooms)) }
        let changed = batch.changedRooms.subtracting(batch.newRooms).sorted().map { batch.rooms[$0]! }
        if !changed.isEmpty { statements.append(update(changed)) }
        if !batch.changedMembers.isEmpty {
            statements.append(upsert(batch.changedMembers.map { batch.members[$0]! }))
        }
        // Changes first: one of them may free a Sign that a new message uses.
        let edited = batch.changedMessages.subtracting(batch.newMessages).sorted().map { batch.messages[$0]! }
        if !edited.isEmpty { statements.append(update(edited)) }
        if !batch.newMessages.isEmpty { statements.append(insert(batch.newMessages.map { batch.messages[$0]! })) }
        if !batch.events.isEmpty { statements.append(insert(batch.events)) }
        if !batch.newRequests.isEmpty {
            statements += [insert(batch.newRequests), Self.dropOldRequests]
        }
        if !batch.edits.isEmpty { statements.append(insert(batch.edits)) }
        let deleted = edited.filter { $0.deletedAt != nil }.map(\.id)
        if !deleted.isEmpty { statements.append("DELETE FROM message_edits WHERE message_id = ANY(\(deleted))") }
        if !batch.changedInvitations.isEmpty {
            statements.append(upsert(batch.changedInvitations.sorted().map { batch.invitations[$0]! }))
        }
        for (room, seq) in batch.purged.sorted(by: { $0.key < $1.key }) {
            statements.append("DELETE FROM messages WHERE room_id = \(room) AND seq BETWEEN 1 AND \(seq)")
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
        UPDATE messages m SET seq = n.seq, sign = n.sign, created_at = n.created_at, change_seq = n.change_seq, content = n.content, status = n.status,
            file_name = n.file_name, file_size = n.file_size, file_content_type = n.file_content_type,
            file_thumbnail = n.file_thumbnail, reactions = n.reactions, edited_at = n.edited_at,
            deleted_at = n.deleted_at, pinned_at = n.pinned_at, file_media = n.file_media
        FROM unnest(\(messages.map(\.id)), \(.int8s(messages.map(\.changeSeq))), \(.texts(messages.map(\.content))),
            \(.int2s(messages.map(\.status.rawValue))), \(.texts(messages.map(\.file?.name))),
            \(.int8s(messages.map(\.file?.size))), \(.texts(messages.map(\.file?.contentType))),
            \(.texts(messages.map(\.file?.thumbnailURL))), \(.texts(messages.map(\.reactions.json)))::jsonb[],
            \(.times(messages.map(\.editedAt))), \(.times(messages.map(\.deletedAt))),
            \(.times(messages.map(\.pinnedAt))),
            \(.texts(messages.map(\.file?.media?.json)))::jsonb[], \(.int8s(messages.map(\.seq))),
            \(.texts(messages.map(\.sign))), \(.times(messages.map(\.createdAt))))
            n (id, change_seq, content, status, file_name, file_size, file_content_type, file_thumbnail, reactions,
                edited_at, deleted_at, pinned_at, file_media, seq, sign, created_at)
        WHERE m.id = n.id
        """
    }

    private func insert(_ events: [RoomBatch.Event]) -> SQL {
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

    /// Each new request removes some that are old enough, so that their number is bounded by the rates.
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
