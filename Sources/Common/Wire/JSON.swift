/// Writes JSON without white space.
///
/// Each key and value is one write into memory that is there already: a page of history is some 1,600 of them.
public struct JSONWriter: WireWriter, Sendable {
    /// The first `used` bytes are the text; the rest is room.
    @usableFromInline var storage: [UInt8]
    @usableFromInline var used = 0
    @usableFromInline var needsComma = false

    public init(reserving capacity: Int = 256) { storage = [UInt8](repeating: 0, count: capacity) }

    /// The text, and an empty writer: what was written is not copied.
    public mutating func take() -> [UInt8] {
        storage.removeLast(storage.count - used)
        defer { self = JSONWriter(reserving: 0) }
        return storage
    }

    public mutating func beginMap(_ count: Int) { open(UInt8(ascii: "{")) }
    public mutating func endMap() { close(UInt8(ascii: "}")) }
    public mutating func beginArray(_ count: Int) { open(UInt8(ascii: "[")) }
    public mutating func endArray() { close(UInt8(ascii: "]")) }

    /// Inlined, so that a name is a few stores and not a copy of unknown length.
    @inlinable @inline(__always)
    public mutating func key(_ name: StaticString) {
        let count = name.utf8CodeUnitCount
        write(count + 3) { place in
            place[0] = UInt8(ascii: "\"")
            (place + 1).update(from: name.utf8Start, count: count)
            place[count + 1] = UInt8(ascii: "\"")
            place[count + 2] = UInt8(ascii: ":")
        }
        needsComma = false
    }

    public mutating func key(_ name: String) {
        string(name)
        needsComma = false
        write(1) { $0[0] = UInt8(ascii: ":") }
        needsComma = false
    }

    public mutating func null() { literal("null") }
    public mutating func bool(_ value: Bool) { literal(value ? "true" : "false") }
    public mutating func int(_ value: Int64) { raw(String(value).utf8) }

    /// JSON has no infinities and no NaN: they become null, as JavaScript writes them.
    public mutating func double(_ value: Double) {
        guard value.isFinite else { return null() }
        raw("\(value)".utf8)
    }

    public mutating func utf8(_ text: UnsafeRawBufferPointer) {
        if mayNeedEscape(text) { return escaped(text) }
        write(text.count + 2) { place in
            place[0] = UInt8(ascii: "\"")
            if let start = text.baseAddress {
                UnsafeMutableRawPointer(place + 1).copyMemory(from: start, byteCount: text.count)
            }
            place[text.count + 1] = UInt8(ascii: "\"")
        }
    }

    public mutating func uuid(_ value: UUID128) {
        write(38) { place in
            place[0] = UInt8(ascii: "\"")
            value.writeText(to: place + 1)
            place[37] = UInt8(ascii: "\"")
        }
    }

    public mutating func timestamp(_ unixMilliseconds: Int64) {
        write(timestampLength + 2) { place in
            place[0] = UInt8(ascii: "\"")
            writeTimestamp(unixMilliseconds, to: place + 1)
            place[timestampLength + 1] = UInt8(ascii: "\"")
        }
    }

    /// JSON has no bytes: lower-case hexadecimal text.
    public mutating func binary(_ value: [UInt8]) {
        write(value.count * 2 + 2) { place in
            place[0] = UInt8(ascii: "\"")
            for (index, byte) in value.enumerated() {
                place[index * 2 + 1] = hexDigit(byte >> 4)
                place[index * 2 + 2] = hexDigit(byte & 15)
            }
            place[value.count * 2 + 1] = UInt8(ascii: "\"")
        }
    }

    /// Appends bytes that are JSON already.
    public mutating func raw(_ json: some Collection<UInt8>) {
        write(json.count) { place in
            _ = UnsafeMutableBufferPointer(start: place, count: json.count).update(fromContentsOf: json)
        }
    }

    private mutating func open(_ bracket: UInt8) {
        write(1) { $0[0] = bracket }
        needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        needsComma = false
        write(1) { $0[0] = bracket }
    }

    private mutating func literal(_ text: StaticString) {
        write(text.utf8CodeUnitCount) { $0.update(from: text.utf8Start, count: text.utf8CodeUnitCount) }
    }

    private mutating func escaped(_ text: UnsafeRawBufferPointer) {
        var json: [UInt8] = [UInt8(ascii: "\"")]
        json.reserveCapacity(text.count + 32)
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): json += [UInt8(ascii: "\\"), byte]
            case 0x0a: json += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
            case 0x0d: json += [UInt8(ascii: "\\"), UInt8(ascii: "r")]
            case 0x09: json += [UInt8(ascii: "\\"), UInt8(ascii: "t")]
            case ..<0x20, 0x7f:
                json += "\\u00".utf8
                json += [hexDigit(byte >> 4), hexDigit(byte & 15)]
            default: json.append(byte)
            }
        }
        json.append(UInt8(ascii: "\""))
        raw(json)
    }

    /// Has `body` write exactly `count` bytes, behind a comma where one is due; another is due after them.
    @inlinable @inline(__always)
    mutating func write(_ count: Int, _ body: (UnsafeMutablePointer<UInt8>) -> Void) {
        if storage.count - used <= count { grow(count) }
        let (start, comma) = (used, needsComma ? 1 : 0)
        storage.withUnsafeMutableBufferPointer { buffer in
            let place = buffer.baseAddress! + start
            if comma == 1 { place[0] = UInt8(ascii: ",") }
            body(place + comma)
        }
        used = start + comma + count
        needsComma = true
    }

    @usableFromInline
    mutating func grow(_ count: Int) { storage += repeatElement(0, count: max(storage.count, count + 1)) }
}

/// Whether a control character, a quote or a backslash is in the text; sixteen bytes at a time, by the arithmetic of
/// "Bit Twiddling Hacks" (a byte less than n, a byte equal to n): `SIMD16` compares a byte at a time here.
private func mayNeedEscape(_ text: UnsafeRawBufferPointer) -> Bool {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let tops: UInt64 = 0x8080_8080_8080_8080
    func equal(_ word: UInt64, _ byte: UInt64) -> UInt64 {
        let other = word ^ (ones &* byte)
        return (other &- ones) & ~other
    }
    func suspects(at place: Int) -> UInt64 {
        let word = text.loadUnaligned(fromByteOffset: place, as: UInt64.self)
        let control = (word &- ones &* 0x20) & ~word
        return control | equal(word, 0x22) | equal(word, 0x5c) | equal(word, 0x7f)
    }
    var at = 0
    while at + 16 <= text.count {
        if (suspects(at: at) | suspects(at: at + 8)) & tops != 0 { return true }
        at += 16
    }
    return text[at...].contains { $0 < 0x20 || $0 == 0x22 || $0 == 0x5c || $0 == 0x7f }
}

func hexDigit(_ nibble: UInt8) -> UInt8 {
    nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
}

/// Reads JSON (RFC 8259) from a stranger into the same tree as MessagePack: strict grammar, unique keys, UTF-8,
/// bounded depth, nothing after the value.
public struct JSONReader {
    private let bytes: [UInt8]
    private var position = 0

    public static func decode(_ bytes: [UInt8]) throws(WireError) -> WireValue {
        var reader = JSONReader(bytes)
        reader.skipSpace()
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.error("text follows the value") }
        return value
    }

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    private func error(_ text: String) -> WireError { WireError(text, at: position) }
    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func value(depth: Int) throws(WireError) -> WireValue {
        guard depth < WireLimit.depth else { throw error("nested deeper than \(WireLimit.depth)") }
        guard let byte = current else { throw error("the value is cut off") }
        switch byte {
        case UInt8(ascii: "{"): return try map(depth)
        case UInt8(ascii: "["): return try array(depth)
        case UInt8(ascii: "\""): return .string(try text())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("not JSON")
        }
    }

    private mutating func literal(_ word: StaticString, _ value: WireValue) throws(WireError) -> WireValue {
        let end = position + word.utf8CodeUnitCount
        guard end <= bytes.count,
            bytes[position..<end].elementsEqual(
                UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
        else { throw error("not JSON") }
        position = end
        return value
    }

    private mutating func map(_ depth: Int) throws(WireError) -> WireValue {
        var entries: [WireValue.Entry] = []
        position += 1
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return .map(entries)
        }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw error("a key is expected") }
            let key = try text()
            guard !entries.contains(where: { $0.key == key }) else { throw error("a key is there twice") }
            guard entries.count < 64 else { throw error("an object has more than 64 keys") }
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw error("a colon is expected") }
            position += 1
            skipSpace()
            entries.append(.init(key, try value(depth: depth + 1)))
            guard try another(closing: UInt8(ascii: "}")) else { return .map(entries) }
        }
    }

    private mutating func array(_ depth: Int) throws(WireError) -> WireValue {
        var values: [WireValue] = []
        position += 1
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return .array(values)
        }
        while true {
            skipSpace()
            values.append(try value(depth: depth + 1))
            guard try another(closing: UInt8(ascii: "]")) else { return .array(values) }
        }
    }

    /// Steps over a comma (true) or the closing bracket (false).
    private mutating func another(closing bracket: UInt8) throws(WireError) -> Bool {
        skipSpace()
        guard let byte = current, byte == bracket || byte == UInt8(ascii: ",") else {
            throw error(current == nil ? "the value is cut off" : "a comma or the end is expected")
        }
        position += 1
        return byte != bracket
    }

    private mutating func number() throws(WireError) -> WireValue {
        let start = position
        if current == UInt8(ascii: "-") { position += 1 }
        if current == UInt8(ascii: "0") { position += 1 } else { try digits() }
        var whole = true
        if current == UInt8(ascii: ".") {
            whole = false
            position += 1
            try digits()
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            whole = false
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if whole, let value = Int64(text) { return .int(value) }
        guard let value = Double(text), value.isFinite else { throw error("a number is out of range") }
        return .double(value)
    }

    private mutating func digits() throws(WireError) {
        let start = position
        while let byte = current, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
        guard position > start else { throw error("a digit is expected") }
    }

    private mutating func text() throws(WireError) -> String {
        position += 1
        var content: [UInt8] = []
        while let byte = current {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else { throw error("text is not UTF-8") }
                return text
            case UInt8(ascii: "\\"): try escape(into: &content)
            case 0..<0x20: throw error("a control character in text")
            default: content.append(byte)
            }
        }
        throw error("the text is cut off")
    }

    private mutating func escape(into content: inout [UInt8]) throws(WireError) {
        guard let byte = current else { throw error("the text is cut off") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): content.append(byte)
        case UInt8(ascii: "b"): content.append(0x08)
        case UInt8(ascii: "f"): content.append(0x0c)
        case UInt8(ascii: "n"): content.append(0x0a)
        case UInt8(ascii: "r"): content.append(0x0d)
        case UInt8(ascii: "t"): content.append(0x09)
        case UInt8(ascii: "u"):
            var unit = UInt32(try hexUnit())
            if unit & 0xfc00 == 0xd800 {
                guard literalEscapeFollows() else { throw error("half of a surrogate pair") }
                let low = UInt32(try hexUnit())
                guard low & 0xfc00 == 0xdc00 else { throw error("half of a surrogate pair") }
                unit = 0x10000 + (unit & 0x3ff) << 10 + (low & 0x3ff)
            }
            guard let scalar = Unicode.Scalar(unit) else { throw error("half of a surrogate pair") }
            content.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
        default: throw error("an unknown escape")
        }
    }

    private mutating func literalEscapeFollows() -> Bool {
        guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        else { return false }
        position += 2
        return true
    }

    private mutating func hexUnit() throws(WireError) -> UInt16 {
        guard position + 4 <= bytes.count else { throw error("the text is cut off") }
        var unit: UInt16 = 0
        for _ in 0..<4 {
            let byte = bytes[position]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            default: throw error("four hexadecimal digits are expected")
            }
            unit = unit << 4 | UInt16(digit)
            position += 1
        }
        return unit
    }
}
