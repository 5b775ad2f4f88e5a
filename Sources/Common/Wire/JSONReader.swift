/// Reads untrusted JSON (RFC 8259) into the same tree as MessagePack: strict grammar, unique keys, UTF-8, bounded
/// depth, nothing after the value.
public struct JSONReader {
    /// The limits of a reader, and how strict it is.
    public struct Rules: Sendable {
        /// Of objects and lists inside each other.
        var depth = WireLimit.depth
        /// Of one object. A look-up compares with each.
        var keys = WireLimit.keys
        /// Takes all that the grammar allows, also the parts that our clients do not write: the first of equal keys counts, half of a surrogate pair is
        /// U+FFFD, and a number that no Double holds is null.
        var isTolerant = false

        public static let ours = Rules()
        /// Other services' objects are deeper and larger than ours.
        public static let others = Rules(depth: 64, keys: 512, isTolerant: true)
    }

    private let bytes: [UInt8]
    private var position = 0
    private let rules: Rules

    public static func decode(_ bytes: [UInt8], _ rules: Rules = .ours) throws(WireError) -> WireValue {
        var reader = JSONReader(bytes, rules)
        reader.skipSpace()
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.error("text follows the value") }
        return value
    }

    private init(_ bytes: [UInt8], _ rules: Rules) {
        self.bytes = bytes
        self.rules = rules
    }

    private func error(_ text: String) -> WireError { WireError(text, at: position) }
    private func tooLarge(_ text: String) -> WireError { WireError(text, at: position, isLimit: true) }
    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func value(depth: Int) throws(WireError) -> WireValue {
        guard depth < rules.depth else { throw tooLarge("nested deeper than \(rules.depth)") }
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
        var entries: [WireValue.MapEntry] = []
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
            let isKnown = entries.contains { areSameBytes($0.key, key) }
            guard !isKnown || rules.isTolerant else { throw error("a key occurs twice") }
            guard entries.count < rules.keys else { throw tooLarge("an object has more than \(rules.keys) keys") }
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw error("a colon is expected") }
            position += 1
            skipSpace()
            let value = try self.value(depth: depth + 1)
            if !isKnown { entries.append(.init(key, value)) }
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

    /// Skips a comma (true) or the closing bracket (false).
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
        guard let value = Double(text), value.isFinite else {
            guard rules.isTolerant else { throw error("a number is out of range") }
            return .null
        }
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
            var scalar = try escapedScalar()
            if scalar == nil, rules.isTolerant { scalar = "\u{fffd}" }
            guard let scalar else { throw error("half of a surrogate pair") }
            content.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
        default: throw error("an unknown escape")
        }
    }

    /// nil: half of a surrogate pair. What follows it is read next.
    private mutating func escapedScalar() throws(WireError) -> Unicode.Scalar? {
        let unit = UInt32(try hexUnit())
        guard unit & 0xfc00 == 0xd800 else { return Unicode.Scalar(unit) }
        let end = position
        guard literalEscapeFollows() else { return nil }
        let low = UInt32(try hexUnit())
        guard low & 0xfc00 == 0xdc00 else {
            position = end
            return nil
        }
        return Unicode.Scalar(0x10000 + (unit & 0x3ff) << 10 + (low & 0x3ff))
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
