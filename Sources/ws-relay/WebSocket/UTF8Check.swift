/// Validates UTF-8 as it arrives, cut anywhere: a wrong byte is found at once, not at the message's end. Its state has
/// four bytes, so a text cut within a character can move to another process.
struct UTF8Check: Equatable, Sendable {
    /// Continuation bytes that the current character still needs.
    private(set) var missing: UInt8 = 0
    /// The range of the next continuation byte: it excludes overlong forms, surrogates and values above U+10FFFF.
    private(set) var low: UInt8 = 0x80
    private(set) var high: UInt8 = 0xBF

    init() {}

    init(missing: UInt8, low: UInt8, high: UInt8) {
        (self.missing, self.low, self.high) = (missing, low, high)
    }

    /// Whether the text may end here.
    var isComplete: Bool { missing == 0 }

    /// False at the first byte that is not valid here; the check cannot be used afterwards.
    mutating func accept(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var at = 0
        while at < bytes.count {
            if missing == 0 { at = Self.skipASCII(bytes, from: at) }
            guard at < bytes.count else { return true }
            guard accept(bytes[at]) else { return false }
            at &+= 1
        }
        return true
    }

    private mutating func accept(_ byte: UInt8) -> Bool {
        if missing > 0 {
            guard byte >= low, byte <= high else { return false }
            (missing, low, high) = (missing - 1, 0x80, 0xBF)
            return true
        }
        switch byte {
        case 0x00...0x7F: break
        case 0xC2...0xDF: missing = 1
        case 0xE0: (missing, low) = (2, 0xA0)
        case 0xED: (missing, high) = (2, 0x9F)
        case 0xE1...0xEF: missing = 2
        case 0xF0: (missing, low) = (3, 0x90)
        case 0xF4: (missing, high) = (3, 0x8F)
        case 0xF1...0xF3: missing = 3
        default: return false
        }
        return true
    }

    private static func skipASCII(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var at = start
        while at &+ 8 <= bytes.count,
            bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
        {
            at &+= 8
        }
        while at < bytes.count, bytes[at] < 0x80 { at &+= 1 }
        return at
    }

    static func isValid(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { isValid($0) } }

    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var check = UTF8Check()
        return check.accept(bytes) && check.isComplete
    }
}
