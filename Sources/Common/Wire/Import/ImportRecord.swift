/// One line of an import: see docs/import.md. Times are Unix milliseconds.
public enum ImportRecord: Sendable, Equatable {
    /// The first line of an export: the namespace of its users' ids.
    case head(UUID128?)
    case user(ImportUser)
    case account(UUID128, Account)
    case block(blocker: UUID128, blocked: UUID128, at: Int64)
    case room(ImportRoom)
    case member(ImportMember)
    case message(ImportMessage)
    case edit(ImportEdit)
    case reaction(message: UUID128, emoji: String, user: UUID128)
    /// A part of the export of one user that no import takes: devices, entries of the audit log …
    case passedOver(kind: String)
}

public struct ImportUser: Sendable, Equatable {
    public var user: HostUser
    public var name: String
    public var avatar: String
    /// A JSON object.
    public var metadata: String
    public var deactivatedAt: Int64?
    public var createdAt: Int64?
}

public struct ImportRoom: Sendable, Equatable {
    /// As lines name it. A PRIVATE room's own id is that of its pair.
    public var given: UUID128
    public var room: Room
    /// The two users of a PRIVATE room.
    public var pair: [UUID128]
    /// nil: from its messages.
    public var lastActivityAt: Int64?
    /// Whether another installation gave the id: clients may have seen another history of the room.
    public var isKnownElsewhere: Bool
}

public struct ImportMember: Sendable, Equatable {
    public var member: Member
    /// Whether the line has Seqs, which only those of an export have.
    public var isNumbered: Bool
    /// nil with both: the member has read everything.
    public var lastSeenSeq: Int64?
    public var lastSeenAt: Int64?
}

public struct ImportMessage: Sendable, Equatable {
    /// Seq 0: the file gives none.
    public var message: Message
    /// The address of a file that is kept elsewhere.
    public var fileURL: String?
}

/// The content of a message before an edit.
public struct ImportEdit: Sendable, Equatable {
    public var message: UUID128
    public var content: String
    public var replacedAt: Int64
    /// nil: the import gives one.
    public var changeSeq: Int64?
}

public enum ImportLimit {
    /// Bytes of a line: the longest content, written in escapes, with the reactions of a large room.
    public static let line = 4 * 1024 * 1024
    /// Seqs of a room. A search walks down a room's Seqs in steps of 4,096.
    public static let seq: Int64 = 1_000_000_000
    /// The largest whole number that all readers of JSON keep.
    static let number: Int64 = 1 << 53 - 1
    /// Earlier contents of a message: they are stored in one transaction.
    public static let edits = 1000
    /// Another machine's clock may be ahead by this.
    static let clockError: Duration = .seconds(300)
    /// Bytes of a file: no sum of them overflows.
    public static let fileSize: Int64 = 1 << 40
}
