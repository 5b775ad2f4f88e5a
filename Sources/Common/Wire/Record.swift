// Records are MessagePack arrays with fixed positions. Only our own programs write and read them.

/// Unix milliseconds of the end of the year 9999, the last time that RFC 3339 can express.
let lastTime: Int64 = 253_402_300_799_999

/// A value at one position of a record.
protocol RecordField {
    func write(to writer: inout MessagePackWriter)
    /// nil when the value has another type.
    init?(field: WireValue)
}

extension MessagePackWriter {
    /// Writes an array of the elements that the closure adds, and counts them.
    @inline(__always)
    mutating func record(_ fields: (inout Self) -> Void) {
        let record = beginRecord()
        fields(&self)
        endRecord(record)
    }

    /// Adds a record to the open one.
    @inline(__always)
    mutating func addRecord(_ fields: (inout Self) -> Void) {
        entries += 1
        record(fields)
    }

    // Fields of the open record. A pack of parameters in place of these would make a command three times as slow to
    // write: the compiler does not specialise it.

    @inline(__always)
    mutating func add<A: RecordField>(_ a: A) {
        entries += 1
        a.write(to: &self)
    }

    @inline(__always)
    mutating func add<A: RecordField, B: RecordField>(_ a: A, _ b: B) {
        add(a)
        add(b)
    }

    @inline(__always)
    mutating func add<A: RecordField, B: RecordField, C: RecordField>(_ a: A, _ b: B, _ c: C) {
        add(a, b)
        add(c)
    }

    @inline(__always)
    mutating func add<A: RecordField, B: RecordField, C: RecordField, D: RecordField>(_ a: A, _ b: B, _ c: C, _ d: D) {
        add(a, b, c)
        add(d)
    }

    @inline(__always)
    mutating func add<A: RecordField, B: RecordField, C: RecordField, D: RecordField, E: RecordField>(
        _ a: A, _ b: B, _ c: C, _ d: D, _ e: E
    ) {
        add(a, b, c, d)
        add(e)
    }

    @inline(__always)
    mutating func add<A: RecordField, B: RecordField, C: RecordField, D: RecordField, E: RecordField, F: RecordField>(
        _ a: A, _ b: B, _ c: C, _ d: D, _ e: E, _ f: F
    ) {
        add(a, b, c, d, e)
        add(f)
    }
}

/// The positions of a record that is read, in order.
struct RecordFields {
    private let values: [WireValue]
    private var position = 0

    init(_ value: WireValue) { values = value.array ?? [] }

    @inline(__always)
    mutating func next<Field: RecordField>() throws(WireError) -> Field {
        guard position < values.count else { throw cutOff() }
        defer { position += 1 }
        guard let field = Field(field: values[position]) else { throw wrong() }
        return field
    }

    /// A number that is used in arithmetic, or stored in fewer bytes.
    mutating func number(in range: ClosedRange<Int64>) throws(WireError) -> Int64 {
        let number: Int64 = try next()
        guard range.contains(number) else { throw outOfRange() }
        return number
    }

    mutating func numberOrNull(in range: ClosedRange<Int64>) throws(WireError) -> Int64? {
        let number: Int64? = try next()
        guard number.map({ range.contains($0) }) ?? true else { throw outOfRange() }
        return number
    }

    /// nil after the end: an older program wrote fewer fields.
    mutating func numberIfAny(in range: ClosedRange<Int64>) throws(WireError) -> Int64? {
        position < values.count ? try number(in: range) : nil
    }

    private func outOfRange() -> WireError { WireError("a number is out of its range", at: position) }
    private func cutOff() -> WireError { WireError("a command is cut off", at: position) }
    private func wrong() -> WireError { WireError("a command's field has the wrong type", at: position + 1) }

    /// nil after the end: an older program wrote fewer fields.
    mutating func nextIfAny<Field: RecordField>() throws(WireError) -> Field? {
        position < values.count ? try next() as Field : nil
    }

    /// The same for a field that may be null.
    mutating func nextOrNil<Field: RecordField>() throws(WireError) -> Field? {
        position < values.count ? try next() as Field? : nil
    }

    mutating func record() throws(WireError) -> RecordFields {
        guard position < values.count else { throw cutOff() }
        defer { position += 1 }
        return RecordFields(values[position])
    }
}

extension Int64: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.int(self) }

    init?(field: WireValue) {
        guard let value = field.int else { return nil }
        self = value
    }
}

extension Int: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.int(Int64(self)) }

    init?(field: WireValue) {
        guard let value = field.int else { return nil }
        self = Int(value)
    }
}

extension Bool: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.bool(self) }

    init?(field: WireValue) {
        guard let value = field.bool else { return nil }
        self = value
    }
}

extension String: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.string(self) }

    init?(field: WireValue) {
        guard let value = field.string else { return nil }
        self = value
    }
}

/// 16 bytes instead of 36 characters: clients never see these.
extension UUID128: RecordField {
    func write(to writer: inout MessagePackWriter) {
        writer.bytes.append(0xc4)
        writer.bytes.append(16)
        appendBytes(to: &writer.bytes)
    }

    init?(field: WireValue) {
        guard case .binary(let bytes) = field, let id = UUID128(bytes: bytes) else { return nil }
        self = id
    }
}

/// An id as 36 characters.
struct SpelledID: RecordField {
    let id: UUID128

    init(_ id: UUID128) { self.id = id }
    func write(to writer: inout MessagePackWriter) { writer.uuid(id) }

    init?(field: WireValue) {
        guard let id = field.string.flatMap({ UUID128($0) }) else { return nil }
        self.id = id
    }
}

extension Optional: RecordField where Wrapped: RecordField {
    func write(to writer: inout MessagePackWriter) {
        if let self { self.write(to: &writer) } else { writer.null() }
    }

    init?(field: WireValue) {
        if field.isNull {
            self = .none
        } else {
            guard let value = Wrapped(field: field) else { return nil }
            self = .some(value)
        }
    }
}

extension Array: RecordField where Element: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.array(self) { $1.write(to: &$0) } }

    init?(field: WireValue) {
        guard let values = field.array else { return nil }
        self = []
        for value in values {
            guard let element = Element(field: value) else { return nil }
            append(element)
        }
    }
}

/// Keys and values in turn.
extension Dictionary: RecordField where Key: RecordField, Value: RecordField {
    func write(to writer: inout MessagePackWriter) {
        writer.record { for (key, value) in self { $0.add(key, value) } }
    }

    init?(field: WireValue) {
        let values = field.array ?? []
        guard values.count.isMultiple(of: 2) else { return nil }
        self = [:]
        for place in stride(from: 0, to: values.count, by: 2) {
            guard let key = Key(field: values[place]), let value = Value(field: values[place + 1]) else { return nil }
            self[key] = value
        }
    }
}

extension RecordField where Self: RawRepresentable, RawValue == Int16 {
    func write(to writer: inout MessagePackWriter) { writer.int(Int64(rawValue)) }

    init?(field: WireValue) {
        guard let number = field.int.flatMap({ Int16(exactly: $0) }) else { return nil }
        self.init(rawValue: number)
    }
}

extension ContentType: RecordField {}
extension MessageType: RecordField {}
extension RoomType: RecordField {}
extension Role: RecordField {}

extension FileMedia: RecordField {
    func write(to writer: inout MessagePackWriter) { writer.map { writeFields(to: &$0) } }
    init?(field: WireValue) { self.init(field) }
}

/// 16 bytes of the trace, 8 of the span, the flags.
extension TraceParent: RecordField {
    func write(to writer: inout MessagePackWriter) {
        writer.bytes.append(0xc4)
        writer.bytes.append(25)
        trace.appendBytes(to: &writer.bytes)
        withUnsafeBytes(of: span.bigEndian) { writer.bytes.append(contentsOf: $0) }
        writer.bytes.append(isSampled ? 1 : 0)
    }

    init?(field: WireValue) {
        guard case .binary(let bytes) = field, bytes.count >= 25, let trace = UUID128(bytes: bytes[..<16]) else {
            return nil
        }
        let span = bytes[16..<24].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        self.init(trace: trace, span: span, isSampled: bytes[24] & 1 == 1)
    }
}
