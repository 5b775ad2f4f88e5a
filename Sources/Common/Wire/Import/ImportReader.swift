/// Reads the lines of an import. A line that cannot be read gives all of its problems, each a sentence.
public enum ImportReader {
    public enum Found: Sendable, Equatable {
        case record(ImportRecord)
        case problems([String])
    }

    /// - Parameter now: Unix milliseconds; nothing happened after it.
    public static func read(_ line: [UInt8], now: Int64) -> Found {
        let value: WireValue
        do throws(WireError) { value = try JSONReader.decode(line) } catch {
            return .problems(["not a JSON object: \(error.description), at byte \(error.offset + 1)"])
        }
        guard case .map(let entries) = value else { return .problems(["not a JSON object"]) }
        guard let kind = value["Kind"]?.string else { return .problems(["Kind is missing, or is not text"]) }
        guard let fieldsOfKind = fields(of: kind) else {
            return exportOnly.contains { areSameBytes($0, kind) }
                ? .record(.passedOver(kind: kind)) : .problems(["Kind \(shown(kind)) is unknown"])
        }
        var fields = ImportFields(value, now: now)
        for entry in entries where !fieldsOfKind.contains(where: { areSameBytes($0, entry.key) }) {
            fields.problems.append("\(shown(entry.key)) is no field of a \(kind)")
        }
        let record = fields.record(kind)
        guard fields.problems.isEmpty, let record else { return .problems(fields.problems) }
        return .record(record)
    }

    /// Kinds of the export of one user that no import takes.
    public static let exportOnly = [
        "device", "silence", "thread_silence", "invitation", "revocation", "erasure", "audit", "request", "upload",
        "report",
    ]

    /// A text from the file, for a sentence: short, and without what would break a terminal.
    public static func shown(_ text: String) -> String {
        let start = text.unicodeScalars.prefix(40).map { isControl($0) || $0.turnsText ? "?" : String($0) }.joined()
        return "'\(start)'" + (text.unicodeScalars.count > 40 ? "…" : "")
    }

    private static func fields(of kind: String) -> [String]? {
        all.first { areSameBytes($0.kind, kind) }?.fields
    }

    private static let all: [(kind: String, fields: [String])] = [
        (
            "message",
            [
                "Kind", "ID", "RoomID", "SenderID", "Seq", "ChangeSeq", "Content", "ContentType", "MessageType",
                "ParentMessageID", "ForwardedFrom", "Sign", "File", "Reactions", "EditedAt", "DeletedAt", "PinnedAt",
                "CreatedAt", "Metadata",
            ]
        ),
        ("edit", ["Kind", "MessageID", "Content", "ReplacedAt", "ChangeSeq"]),
        ("reaction", ["Kind", "MessageID", "Reaction", "UserID"]),
        (
            "member",
            [
                "Kind", "RoomID", "UserID", "Role", "JoinedAt", "JoinedSeq", "LeftAt", "BannedAt", "MutedUntil",
                "LastSeenSeq", "LastSeenAt", "Metadata",
            ]
        ),
        (
            "room",
            [
                "Kind", "ID", "Type", "Name", "Description", "Avatar", "OwnerID", "Members", "MemberLimit", "CreatedAt",
                "CreatedBy", "Sign", "LastActivityAt", "LastSeq", "DeletedAt", "Metadata",
                "SlowModeSeconds",
            ]
        ),
        ("user", ["Kind", "ID", "ExternalID", "Name", "Avatar", "Metadata", "DeactivatedAt", "CreatedAt"]),
        ("account", ["Kind", "UserID", "HidePresence", "AddedBy", "PushMentionsOnly", "QuietHours"]),
        ("block", ["Kind", "UserID", "BlockedID", "CreatedAt"]),
        ("export", ["Kind", "Version", "UserNamespace", "User"]),
    ]
}

/// The fields of one line, and what is wrong with them.
struct ImportFields {
    let fields: RequestFields
    let value: WireValue
    var problems: [String] = []
    let now: Int64

    init(_ value: WireValue, now: Int64) {
        self.value = value
        self.now = now
        fields = RequestFields(value)
    }

    /// Notes a refusal as a problem of the line.
    mutating func take<T>(_ read: (RequestFields) throws(Refusal) -> T) -> T? {
        do throws(Refusal) { return try read(fields) } catch {
            problems.append(error.message)
            return nil
        }
    }

    mutating func optional<T>(_ read: (RequestFields) throws(Refusal) -> T?) -> T? { take(read) ?? nil }

    /// A time that is over.
    mutating func time(_ key: String) -> Int64? {
        guard let time = anyTime(key) else { return nil }
        // Such a message would stand above all others, and no retention would remove it.
        if time > now + ImportLimit.clockError.milliseconds { problems.append("\(key) is in the future") }
        return time
    }

    mutating func anyTime(_ key: String) -> Int64? {
        guard let text = optional({ fields throws(Refusal) in try fields.text(key) }) else { return nil }
        guard let time = parseTimestamp(text) else {
            problems.append(
                "\(key) is not a time from 1970 to 9999 as RFC 3339 writes it, such as 2026-11-22T21:30:23.123Z")
            return nil
        }
        return time
    }

    mutating func requiredTime(_ key: String) -> Int64? {
        if fields.isAbsent(key) { problems.append("\(key) is missing") }
        return time(key)
    }

    mutating func seq(_ key: String, from least: Int64 = 1) -> Int64? {
        optional { fields throws(Refusal) in try fields.integer(key, in: least...ImportLimit.number) }
    }

    mutating func user(_ key: String) -> UUID128? {
        take { fields throws(Refusal) in try fields.requiredUser(key) }?.id
    }

    mutating func optionalUser(_ key: String) -> UUID128? {
        optional { fields throws(Refusal) in try fields.user(key) }?.id
    }

    mutating func room(_ key: String) -> UUID128? { id(key, ImportID.room) }
    mutating func message(_ key: String) -> UUID128? { id(key, ImportID.message) }

    mutating func optionalMessage(_ key: String) -> UUID128? {
        fields.isAbsent(key) ? nil : id(key, ImportID.message)
    }

    private mutating func id(_ key: String, _ make: (String) throws(HostUser.Problem) -> UUID128) -> UUID128? {
        take { fields throws(Refusal) in
            guard let text = try fields.text(key) else { throw .invalid(key, "is missing") }
            do throws(HostUser.Problem) { return try make(text) } catch { throw .invalid(key, error.text) }
        }
    }

    mutating func metadata() -> Metadata? { optional { fields throws(Refusal) in try fields.metadata() } }
}
