import ChatCore

/// Writes the lines that an import reads. Fields without a value are absent.
final class ExportLines {
    private let write: ([UInt8]) throws -> Void

    init(_ write: @escaping ([UInt8]) throws -> Void) { self.write = write }

    func line(_ kind: String, _ fields: (inout JSONWriter) -> Void) throws {
        var writer = JSONWriter(reserving: 512)
        writer.map {
            $0.field("Kind", kind)
            fields(&$0)
        }
        try write(writer.take())
    }

    /// A line that the database has written.
    func ready(_ row: PGRow) throws { try write(Array(row.text(0).utf8)) }

    static let userColumns = "u.id, u.external_id, u.name, u.avatar, u.metadata, u.deactivated_at, u.created_at"

    func user(_ row: PGRow) throws {
        try line("user") {
            $0.field("ID", row.uuid(0))
            $0.field("ExternalID", ifAny: row.optionalText(1))
            $0.field("Name", ifAny: row.text(2).nonEmpty)
            $0.field("Avatar", ifAny: row.text(3).nonEmpty)
            let metadata = row.text(4)
            if !areSameBytes(metadata, "{}") { $0.field("Metadata") { $0.raw(metadata.utf8) } }
            $0.field(ifAnyTime: "DeactivatedAt", row.optionalTime(5))
            $0.field("CreatedAt", time: row.time(6))
        }
    }

    static let accountColumns = """
        user_id, hides_presence, added_by, push_mentions, quiet_from::integer, quiet_to::integer, quiet_zone
        """

    func account(_ row: PGRow) throws {
        try line("account") {
            $0.field("UserID", row.uuid(0))
            $0.field("HidePresence", row.bool(1))
            $0.field("AddedBy", (AddedBy(rawValue: row.int2(2)) ?? .everybody).name)
            $0.field("PushMentionsOnly", row.bool(3))
            if let from = row.optionalInt4(4), let to = row.optionalInt4(5), let zone = row.optionalText(6) {
                $0.map("QuietHours") {
                    $0.field("From", QuietHours.text(from))
                    $0.field("To", QuietHours.text(to))
                    $0.field("TimeZone", zone)
                }
            }
        }
    }

    func block(_ row: PGRow) throws {
        try line("block") {
            $0.field("UserID", row.uuid(0))
            $0.field("BlockedID", row.uuid(1))
            $0.field("CreatedAt", time: row.time(2))
        }
    }

    func room(_ room: Room, pair: [UUID128]) throws {
        try line("room") {
            $0.field("ID", room.id)
            $0.field("Type", room.type.name)
            $0.field("Name", ifAny: room.name.nonEmpty)
            $0.field("Description", ifAny: room.description.nonEmpty)
            $0.field("Avatar", ifAny: room.avatar.nonEmpty)
            $0.field("OwnerID", room.ownerID)
            if room.type == .privateRoom { $0.field("Members", pair) }
            $0.field("MemberLimit", ifAny: room.memberLimit)
            if room.slowModeSeconds > 0 { $0.field("SlowModeSeconds", room.slowModeSeconds) }
            $0.field("CreatedAt", time: room.createdAt)
            if room.createdBy != room.ownerID { $0.field("CreatedBy", room.createdBy) }
            $0.field("Sign", ifAny: room.createdSign)
            $0.field("LastActivityAt", time: room.lastActivityAt)
            $0.field("LastSeq", room.lastSeq)
            $0.field(ifAnyTime: "DeletedAt", room.deletedAt)
            $0.field("Metadata", ifAny: room.metadata)
        }
    }

    func member(_ member: Member) throws {
        try line("member") {
            $0.field("RoomID", member.roomID)
            $0.field("UserID", member.userID)
            $0.field("Role", member.role.name)
            $0.field("JoinedAt", time: member.joinedAt)
            $0.field("JoinedSeq", member.joinedSeq)
            $0.field(ifAnyTime: "LeftAt", member.leftAt)
            $0.field(ifAnyTime: "BannedAt", member.bannedAt)
            $0.field(ifAnyTime: "MutedUntil", member.mutedUntil)
            $0.field("LastSeenSeq", member.lastSeenSeq)
            $0.field("Metadata", ifAny: member.metadata)
        }
    }

    /// - Parameters:
    ///   - hasParent: whether the parent is in the export: old messages are removed.
    ///   - hasOriginal: whether the first message of the chain is.
    func message(_ m: Message, hasParent: Bool, hasOriginal: Bool, url: String?) throws {
        let isGone = m.deletedAt != nil
        let hasMany = m.reactions.reduce(0) { $0 + $1.users.count } > Self.reactions
        try line("message") {
            $0.field("ID", m.id)
            $0.field("RoomID", m.roomID)
            $0.field("SenderID", m.senderID)
            $0.field("Seq", m.seq)
            if m.changeSeq != m.seq { $0.field("ChangeSeq", m.changeSeq) }
            $0.field("Content", ifAny: isGone ? nil : m.content)
            if m.contentType != .text { $0.field("ContentType", m.contentType.name) }
            if m.messageType != .direct { $0.field("MessageType", m.messageType.name) }
            if hasParent { $0.field("ParentMessageID", ifAny: m.parentMessageID) }
            if hasOriginal { $0.field("ForwardedFrom", ifAny: m.forwardedFrom) }
            $0.field("Sign", ifAny: m.sign)
            if !isGone, let file = m.file { $0.field("File") { Self.file(file, url, &$0) } }
            if !isGone, !m.reactions.isEmpty, !hasMany { Self.reactions(m.reactions, &$0) }
            $0.field(ifAnyTime: "EditedAt", m.editedAt)
            $0.field(ifAnyTime: "DeletedAt", m.deletedAt)
            $0.field(ifAnyTime: "PinnedAt", m.pinnedAt)
            $0.field("CreatedAt", time: m.createdAt)
            if !isGone { $0.field("Metadata", ifAny: m.metadata) }
        }
        guard hasMany, !isGone else { return }
        for one in m.reactions { for user in one.users { try reaction(one.emoji, on: m.id, of: user) } }
    }

    /// More have lines of their own: an import takes no line of any length.
    private static let reactions = 1000

    private static func file(_ file: FileInfo, _ url: String?, _ writer: inout JSONWriter) {
        writer.map {
            $0.field("Name", file.name)
            $0.field("Size", file.size)
            $0.field("ContentType", file.contentType)
            $0.field("URL", ifAny: url)
            if file.thumbnailURL != nil { $0.field("Thumbnail", true) }
            $0.field("Width", ifAny: file.media?.width)
            $0.field("Height", ifAny: file.media?.height)
            $0.field("Orientation", ifAny: file.media?.orientation)
            $0.field("Duration", ifAny: file.media?.duration)
            $0.field("BlurHash", ifAny: file.media?.blurHash)
        }
    }

    private static func reactions(_ reactions: [Reaction], _ writer: inout JSONWriter) {
        writer.array("Reactions", reactions) { writer, reaction in
            writer.map {
                $0.field("Reaction", reaction.emoji)
                $0.field("Users", reaction.users)
            }
        }
    }

    func edit(_ edit: EarlierContent, of message: UUID128) throws {
        try line("edit") {
            $0.field("MessageID", message)
            $0.field("Content", edit.content)
            $0.field("ReplacedAt", time: edit.replacedAt)
            $0.field("ChangeSeq", edit.changeSeq)
        }
    }

    func reaction(_ emoji: String, on message: UUID128, of user: UUID128) throws {
        try line("reaction") {
            $0.field("MessageID", message)
            $0.field("Reaction", emoji)
            $0.field("UserID", user)
        }
    }
}

extension JSONWriter {
    fileprivate mutating func field(ifAnyTime name: StaticString, _ time: Int64?) {
        if let time { field(name, time: time) }
    }
}

extension String {
    fileprivate var nonEmpty: String? { isEmpty ? nil : self }
}
