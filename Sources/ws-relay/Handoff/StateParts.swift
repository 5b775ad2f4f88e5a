/// The form of a handed-over state.
enum StateFormat {
    /// Named parts, and rows with named fields: read by versions with other parts, other fields and another layout.
    case described
    /// One part after the other, rows as raw memory: the form of releases without an offer (see `HandoffChannel`). Only
    /// a version with the same `RelayMemory.layout` can read it.
    case raw

    /// The first word of a described state. A raw one begins with a socket's serial number, which is never so large.
    fileprivate static let mark: UInt64 = 0x7374_6174_6521_0001
}

/// Writes a state part by part. A part never changes its meaning: new data is a new part, or a new field of a
/// `DescribedRecord`, which earlier versions ignore.
struct StatePartsWriter {
    private let format: StateFormat
    private var state = StateWriter()
    private var count: UInt32 = 0

    init(_ format: StateFormat) { self.format = format }

    mutating func add(_ name: String, _ body: (inout StateWriter) -> Void) {
        guard format == .described else { return body(&state) }
        var part = StateWriter()
        body(&part)
        state.put(name)
        state.put(array: part.bytes)
        count += 1
    }

    var bytes: [UInt8] {
        guard format == .described else { return state.bytes }
        var head = StateWriter()
        head.put(StateFormat.mark)
        head.put(count)
        return head.bytes + state.bytes
    }
}

/// Reads a state of either form.
struct StatePartsReader {
    /// Raw states of older releases end without these.
    private static let newParts: Set = ["requests", "epochs", "events"]

    let format: StateFormat
    /// A raw state.
    private var whole: StateReader
    private var parts: [String: StateReader] = [:]

    init(_ bytes: [UInt8]) throws(StateUnreadable) {
        whole = StateReader(bytes)
        var head = whole
        format = try head.take(UInt64.self) == StateFormat.mark ? .described : .raw
        guard format == .described else { return }
        for _ in 0..<(try head.take(UInt32.self)) {
            let name = try head.takeText()
            parts[name] = StateReader(try head.takeArray())
        }
    }

    /// Reads a part. Raw states are read in the order in which they were written.
    ///
    /// - Parameter missing: the result when the sender has no such part; nil: the state is unreadable then.
    mutating func read<Value>(
        _ name: String, missing: Value? = nil, _ body: (inout StateReader) throws(StateUnreadable) -> Value
    ) throws(StateUnreadable) -> Value {
        if format == .raw {
            if let missing, whole.isAtEnd, Self.newParts.contains(name) { return missing }
            return try body(&whole)
        }
        guard var part = parts[name] else {
            guard let missing else { throw StateUnreadable(wanted: 1, left: 0) }
            return missing
        }
        return try body(&part)
    }
}
