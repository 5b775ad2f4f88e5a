import ChatCore

// Conditions that several statements share. The numbers are literals and not parameters: PostgreSQL uses a partial
// index only when the index's condition is in the statement's text.

extension Message {
    static func isUploading(_ message: String = "m") -> String {
        "\(message).status = \(MessageStatus.uploading.rawValue)"
    }

    static func isDeleted(_ message: String = "m") -> String {
        "\(message).status = \(MessageStatus.deleted.rawValue)"
    }

    /// A message of the room itself.
    static func isSystem(_ message: String = "m") -> String {
        "\(message).message_type = \(MessageType.system.rawValue)"
    }

    /// Written by a user: only these messages are counted.
    static func isOfUser(_ message: String = "m") -> String {
        "\(message).message_type <> \(MessageType.system.rawValue)"
    }

    /// The host's own: an announcement, or what is said of an erased user. Its sender, all zeros, is no member.
    static func isOfHost(_ message: String = "m") -> String {
        "(\(message).message_type = \(MessageType.system.rawValue) AND \(message).sender_id = '\(UUID128.zero)')"
    }

    /// A file's message without a Seq is visible only to its sender.
    static func isVisible(_ message: String = "m", to member: String = "p.user_id") -> String {
        "(\(message).seq > 0 OR \(message).sender_id = \(member))"
    }
}

extension Room {
    static func isPrivate(_ room: String = "r") -> String { "\(room).type = \(RoomType.privateRoom.rawValue)" }
    /// Not one that an import has begun.
    static func isComplete(_ room: String = "r") -> String { "\(room).deleted_at IS DISTINCT FROM 'infinity'" }
    static func isShared(_ room: String = "r") -> String { "\(room).type <> \(RoomType.privateRoom.rawValue)" }
}

extension Member {
    /// A current member: neither left nor banned.
    static func active(_ member: String = "p") -> String {
        "\(member).left_at IS NULL AND \(member).banned_at IS NULL"
    }
}
