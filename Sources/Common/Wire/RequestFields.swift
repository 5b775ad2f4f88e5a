/// The typed fields of one request. An empty text counts as absent, as clients in typed languages send it; so does
/// null.
public struct RequestFields: Sendable {
    let value: WireValue

    public init(_ value: WireValue) { self.value = value }

    public var isEmpty: Bool { value == .map([]) }

    public func isAbsent(_ key: String) -> Bool {
        switch value[key] {
        case nil, .null, .string(""): true
        default: false
        }
    }

    public func isNull(_ key: String) -> Bool { value[key]?.isNull == true }

    public func has(_ key: String) -> Bool { value[key] != nil }

    /// For partial changes: whether the field is present. A present field means a change, so null and an empty text are
    /// refused where they have no meaning of their own.
    public func given(_ key: String) throws(Refusal) -> Bool {
        guard has(key) else { return false }
        guard !isAbsent(key) else { throw .invalid(key, "is empty: leave the field out to keep its value") }
        return true
    }

    public func text(_ key: String) throws(Refusal) -> String? {
        guard !isAbsent(key) else { return nil }
        guard let text = value[key]?.string else { throw .invalid(key, "is not text") }
        return text
    }

    /// A single line of text, at most `limit` bytes, without control characters; "" when absent.
    public func line(_ key: String, limit: Int) throws(Refusal) -> String? {
        guard has(key) else { return nil }
        guard let text = try text(key) else { return "" }
        guard text.utf8.count <= limit else { throw .invalid(key, "has more than \(limit) bytes") }
        guard !text.unicodeScalars.contains(where: { isControl($0) }) else {
            throw .invalid(key, "has control characters")
        }
        return text
    }

    /// Text of several lines, at most `limit` bytes, without other control characters; nil when absent.
    public func lines(_ key: String, limit: Int) throws(Refusal) -> String? {
        guard let text = try text(key) else { return nil }
        guard text.utf8.count <= limit else { throw .invalid(key, "has more than \(limit) bytes") }
        guard !text.unicodeScalars.contains(where: { isControl($0) && $0 != "\n" && $0 != "\r" && $0 != "\t" })
        else { throw .invalid(key, "has control characters") }
        return text
    }

    public func uuid(_ key: String) throws(Refusal) -> UUID128? {
        guard let text = try text(key) else { return nil }
        guard let uuid = UUID128(text) else { throw .invalid(key, "is not a UUID") }
        return uuid
    }

    public func required(_ key: String) throws(Refusal) -> UUID128 {
        guard let uuid = try uuid(key) else { throw .invalid(key, "is missing") }
        return uuid
    }

    /// A user in either form: a UUID, or the host's own text.
    public func user(_ key: String) throws(Refusal) -> HostUser? {
        guard let text = try text(key) else { return nil }
        return try Self.user(text, key)
    }

    public func requiredUser(_ key: String) throws(Refusal) -> HostUser {
        guard let user = try user(key) else { throw .invalid(key, "is missing") }
        return user
    }

    public func users(_ key: String, limit: Int) throws(Refusal) -> [HostUser] {
        guard !isAbsent(key) else { return [] }
        guard let values = value[key]?.array else { throw .invalid(key, "is not a list") }
        guard values.count <= limit else { throw .invalid(key, "has more than \(limit) entries") }
        var all: [HostUser] = []
        var known: Set<UUID128> = []
        for element in values {
            guard let text = element.string else { throw .invalid(key, "contains something that is not text") }
            let user = try Self.user(text, key)
            if known.insert(user.id).inserted { all.append(user) }
        }
        return all
    }

    public static func user(_ text: String, _ field: String) throws(Refusal) -> HostUser {
        do throws(HostUser.Problem) { return try HostUser(text) } catch {
            throw .invalid(field, "names no user: it \(error.text)")
        }
    }

    /// A map, as the text of a JSON object of at most `limit` bytes. Numbers that JSON cannot write, and NUL, are
    /// refused.
    public func object(_ key: String, limit: Int) throws(Refusal) -> String {
        guard let value = value[key], case .map = value else { throw .invalid(key, "is not an object") }
        guard Self.isPlainJSON(value) else { throw .invalid(key, "contains a NUL or a value that JSON cannot express") }
        var writer = JSONWriter(reserving: 1024)
        writer.value(value)
        let text = writer.take()
        guard text.count <= limit else { throw .invalid(key, "has more than \(limit) bytes as JSON") }
        return String(decoding: text, as: UTF8.self)
    }

    private static func isPlainJSON(_ value: WireValue) -> Bool {
        func isPlain(_ text: String) -> Bool { !text.utf8.contains(0) }
        switch value {
        case .null, .bool, .int: return true
        case .double(let number): return number.isFinite
        case .string(let text): return isPlain(text)
        case .binary: return false
        case .array(let values): return values.allSatisfy(isPlainJSON)
        case .map(let entries): return entries.allSatisfy { isPlain($0.key) && isPlainJSON($0.value) }
        }
    }

    /// A required map.
    public func map(_ key: String) throws(Refusal) -> WireValue {
        guard let value = value[key], case .map = value else { throw .invalid(key, "is not an object") }
        return value
    }

    /// A list of maps.
    public func objects(_ key: String, limit: Int) throws(Refusal) -> [RequestFields] {
        guard !isAbsent(key) else { return [] }
        guard let values = value[key]?.array else { throw .invalid(key, "is not a list") }
        guard values.count <= limit else { throw .invalid(key, "has more than \(limit) entries") }
        return values.map { RequestFields($0) }
    }

    public func integer(_ key: String, in range: ClosedRange<Int64>) throws(Refusal) -> Int64? {
        guard !isAbsent(key) else { return nil }
        guard let number = value[key]?.int, range.contains(number) else {
            throw .invalid(key, "is not a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    public func seq(_ key: String) throws(Refusal) -> Int64? {
        try integer(key, in: 0...Int64.max)
    }

    public func flag(_ key: String) throws(Refusal) -> Bool {
        guard !isAbsent(key) else { return false }
        guard let flag = value[key]?.bool else { throw .invalid(key, "is not true or false") }
        return flag
    }

    public func name<T>(_ key: String, _ find: (String) -> T?, _ otherwise: String) throws(Refusal) -> T? {
        guard let text = try text(key) else { return nil }
        guard let found = find(text) else { throw .invalid(key, otherwise) }
        return found
    }

    public func sign() throws(Refusal) -> String? {
        guard let sign = try text("Sign") else { return nil }
        try Self.check(sign: sign, field: "Sign")
        return sign
    }

    public static func check(sign: String, field: String) throws(Refusal) {
        guard sign.utf8.count <= RequestLimit.sign else {
            throw .invalid(field, "has more than \(RequestLimit.sign) bytes")
        }
        guard !sign.unicodeScalars.contains(where: { isControl($0) }) else {
            throw .invalid(field, "has control characters")
        }
    }

    /// `Content`: a text, or a file's name.
    public func content(of type: ContentType) throws(Refusal) -> String {
        guard let content = try text("Content") else { throw .invalid("Content", "is missing") }
        guard content.showsSomething else { throw .invalid("Content", "shows nothing: it has no visible character") }
        guard type == .text else {
            // As in the names of forms, marks that change the direction of text are removed.
            let content = String(String.UnicodeScalarView(content.unicodeScalars.filter { !$0.turnsText }))
            guard content.utf8.count <= RequestLimit.fileName else {
                throw .invalid("Content", "is a file name of more than \(RequestLimit.fileName) bytes")
            }
            guard content != ".", content != "..",
                !content.unicodeScalars.contains(where: { $0 == "/" || $0 == "\\" || isControl($0) })
            else { throw .invalid("Content", "is not a plain file name") }
            return content
        }
        guard content.utf8.count <= RequestLimit.content else {
            throw .invalid("Content", "has more than \(RequestLimit.content) bytes")
        }
        guard !content.unicodeScalars.contains(where: { isControl($0) && $0 != "\n" && $0 != "\r" && $0 != "\t" })
        else { throw .invalid("Content", "has control characters") }
        return content
    }

    public func reaction() throws(Refusal) -> String {
        guard let reaction = try text("Reaction") else { throw .invalid("Reaction", "is missing") }
        return try Self.check(reaction: reaction)
    }

    /// - Returns: the spelling in which it is stored.
    public static func check(reaction: String) throws(Refusal) -> String {
        guard reaction.utf8.count <= RequestLimit.reaction, let emoji = Emoji.normalized(reaction) else {
            throw .invalid("Reaction", "is not a single emoji")
        }
        return emoji
    }

    public func resumePoints() throws(Refusal) -> [ResumePoint] {
        guard let rooms = value["Rooms"]?.array else { throw .invalid("Rooms", "is not a list") }
        guard rooms.count <= RequestLimit.resumeRooms else {
            throw .invalid("Rooms", "has more than \(RequestLimit.resumeRooms) entries")
        }
        var points: [ResumePoint] = []
        for room in rooms {
            let fields = RequestFields(room)
            points.append(
                ResumePoint(
                    room: try fields.required("RoomID"), seq: try fields.seq("Seq") ?? 0,
                    epoch: try fields.seq("Epoch")))
        }
        return points
    }
}
