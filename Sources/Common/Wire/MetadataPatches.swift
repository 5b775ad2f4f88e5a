extension Metadata {
    public var value: WireValue { (try? JSONReader.decode(Array(text.utf8))) ?? .map([]) }

    /// The object after a patch; nil: nothing is left. It fits the limits, or the patch is refused.
    public static func merged(_ patch: MetadataPatch?, into before: Metadata?) throws(Refusal) -> Metadata? {
        guard let patch else { return before }
        let value = merge(patch.value, into: before?.value)
        guard case .map(let entries) = value, !entries.isEmpty else { return nil }
        guard isBounded(value, depth: depth) else {
            throw .invalid("Metadata", "would have an object of more than \(keys) keys, or more than \(depth) levels")
        }
        let text = json(value)
        guard text.count <= limit else {
            throw .invalid("Metadata", "would have \(text.count) bytes as JSON; the limit is \(limit)")
        }
        return Metadata(stored: String(decoding: text, as: UTF8.self))
    }

    /// RFC 7396: objects are merged key by key, null removes a key, and any other value replaces the old one.
    static func merge(_ patch: WireValue, into target: WireValue?) -> WireValue {
        guard case .map(let changes) = patch else { return patch }
        var entries: [WireValue.MapEntry] = []
        if case .map(let before)? = target { entries = before }
        for change in changes {
            let place = entries.firstIndex { areSameBytes($0.key, change.key) }
            guard !change.value.isNull else {
                if let place { entries.remove(at: place) }
                continue
            }
            let value = merge(change.value, into: place.map { entries[$0].value })
            if let place { entries[place].value = value } else { entries.append(.init(change.key, value)) }
        }
        return .map(entries)
    }

    /// Whether both have the same content: a client that sends again may write the keys in another order.
    static func areSame(_ one: Metadata?, _ other: Metadata?) -> Bool {
        guard let one, let other else { return one == nil && other == nil }
        return one == other || areSame(one.value, other.value)
    }

    private static func areSame(_ one: WireValue, _ other: WireValue) -> Bool {
        switch (one, other) {
        case (.map(let ours), .map(let theirs)):
            ours.count == theirs.count
                && ours.allSatisfy { entry in
                    theirs.contains { areSameBytes($0.key, entry.key) && areSame($0.value, entry.value) }
                }
        case (.array(let ours), .array(let theirs)): ours.count == theirs.count && zip(ours, theirs).allSatisfy(areSame)
        default: json(one) == json(other)
        }
    }

    fileprivate static func json(_ value: WireValue) -> [UInt8] {
        var writer = JSONWriter(reserving: 1024)
        writer.value(value)
        return writer.take()
    }

    fileprivate static func isBounded(_ value: WireValue, depth: Int) -> Bool {
        switch value {
        case .map(let entries):
            depth > 0 && entries.count <= keys && entries.allSatisfy { isBounded($0.value, depth: depth - 1) }
        case .array(let values): depth > 0 && values.allSatisfy { isBounded($0, depth: depth - 1) }
        default: true
        }
    }
}

extension MetadataPatch {
    /// nil: not an object that ``Metadata`` may hold.
    public init?(_ value: WireValue) {
        guard case .map = value, Self.isPlain(value), Metadata.isBounded(value, depth: Metadata.depth) else {
            return nil
        }
        let text = Metadata.json(value)
        guard text.count <= Self.limit else { return nil }
        self.init(checked: String(decoding: text, as: UTF8.self))
    }

    public var value: WireValue { (try? JSONReader.decode(Array(text.utf8))) ?? .map([]) }

    /// No NUL, which the store cannot hold, and no number that would change: integers have at most 64 bits, other
    /// numbers are Doubles.
    private static func isPlain(_ value: WireValue) -> Bool {
        func isPlain(_ text: String) -> Bool { !text.utf8.contains(0) }
        switch value {
        case .null, .bool, .int: return true
        case .double(let number): return number.isFinite && (number.rounded() != number || abs(number) < 0x1p63)
        case .string(let text): return isPlain(text)
        case .binary: return false
        case .array(let values): return values.allSatisfy { Self.isPlain($0) }
        case .map(let entries): return entries.allSatisfy { isPlain($0.key) && Self.isPlain($0.value) }
        }
    }
}

extension Metadata: WireShape {
    public func write<W: WireWriter>(to writer: inout W) { writer.value(value) }
}

extension Metadata: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.string(text) }

    init?(field: WireValue) {
        guard let text = field.string else { return nil }
        self.init(stored: text)
    }
}

extension MetadataPatch: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.string(text) }

    init?(field: WireValue) {
        guard let text = field.string else { return nil }
        self.init(checked: text)
    }
}

extension RequestFields {
    /// A patch of `Metadata`; nil when it is absent.
    public func metadataPatch() throws(Refusal) -> MetadataPatch? {
        guard let value = value["Metadata"], !isAbsent("Metadata") else { return nil }
        guard case .map = value else { throw .invalid("Metadata", "is not an object") }
        guard let patch = MetadataPatch(value) else {
            throw .invalid(
                "Metadata",
                """
                has more than \(MetadataPatch.limit) bytes as JSON, \(Metadata.keys) keys or \(Metadata.depth) levels, \
                a NUL, or a number that would not stay as it is
                """)
        }
        return patch
    }

    /// For partial changes, in which null has no meaning of its own.
    public func givenMetadata() throws(Refusal) -> MetadataPatch? {
        try given("Metadata") ? metadataPatch() : nil
    }

    /// The `Metadata` of a new message, room or member.
    public func metadata() throws(Refusal) -> Metadata? { try Metadata.merged(metadataPatch(), into: nil) }

    /// An edit of a message: of its `Content`, its `Metadata`, or both.
    public func edit(of message: UUID128) throws(Refusal) -> Command.Action {
        let (metadata, base) = (try metadataPatch(), try seq("BaseSeq"))
        guard let metadata, isAbsent("Content") else {
            return .edit(message: message, content: try content(of: .text), base: base, metadata: metadata)
        }
        guard base == nil else { throw .invalid("BaseSeq", "goes with Content: Metadata is merged") }
        return .messageMetadata(message: message, metadata)
    }
}
