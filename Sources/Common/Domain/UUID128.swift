/// A UUID as two big-endian halves: 16 bytes, no allocation, ordered as its text is.
public struct UUID128: Hashable, BitwiseCopyable, Sendable, Comparable {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public static let zero = UUID128(high: 0, low: 0)

    public static func < (a: UUID128, b: UUID128) -> Bool {
        a.high == b.high ? a.low < b.low : a.high < b.high
    }

    /// RFC 9562 version 7: 48 bits of Unix milliseconds, then 74 random bits.
    public static func v7(
        unixMilliseconds: Int64, using random: inout some RandomNumberGenerator
    ) -> UUID128 {
        let time = UInt64(bitPattern: unixMilliseconds) << 16
        return UUID128(
            high: time | 0x7000 | (random.next() & 0x0FFF),
            low: 0x8000_0000_0000_0000 | (random.next() & 0x3FFF_FFFF_FFFF_FFFF))
    }

    /// The version 7 UUID of now, from the system's random source.
    public static func v7(at unixMilliseconds: Int64) -> UUID128 {
        var random = SystemRandomNumberGenerator()
        return v7(unixMilliseconds: unixMilliseconds, using: &random)
    }
}

// MARK: Text

extension UUID128: CustomStringConvertible, LosslessStringConvertible {
    /// Reads the 36-character form with hyphens, upper or lower case; nil for anything else.
    public init?(_ text: String) {
        var text = text
        guard let value = text.withUTF8({ UUID128(utf8: UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }

    public init?(utf8: UnsafeRawBufferPointer) {
        guard utf8.count == 36 else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        var digits = 0
        for index in 0..<36 {
            let byte = utf8[index]
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            let nibble: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): nibble = byte - UInt8(ascii: "A") + 10
            default: return nil
            }
            if digits < 16 { high = high << 4 | UInt64(nibble) } else { low = low << 4 | UInt64(nibble) }
            digits += 1
        }
        self.init(high: high, low: low)
    }

    /// Lower case with hyphens, as RFC 9562 writes it.
    public var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            writeText { index, byte in buffer[index] = byte }
            return 36
        }
    }

    /// Appends the 36 bytes of ``description``.
    public func appendText(to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: 36))
        bytes.withUnsafeMutableBufferPointer { buffer in
            writeText { index, byte in buffer[start + index] = byte }
        }
    }

    /// Writes the 36 bytes of ``description``.
    func writeText(to place: UnsafeMutablePointer<UInt8>) { writeText { place[$0] = $1 } }

    @inline(__always)
    private func writeText(_ put: (Int, UInt8) -> Void) {
        var at = 0
        for digit in 0..<32 {
            if digit == 8 || digit == 12 || digit == 16 || digit == 20 {
                put(at, UInt8(ascii: "-"))
                at += 1
            }
            let half = digit < 16 ? high : low
            let nibble = UInt8(truncatingIfNeeded: half >> UInt64((15 - digit & 15) * 4)) & 15
            put(at, nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10)
            at += 1
        }
    }
}

// MARK: Bytes

extension UUID128 {
    /// Reads 16 big-endian bytes; nil when there are not exactly 16.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        var halves: (UInt64, UInt64) = (0, 0)
        for (index, byte) in bytes.enumerated() {
            if index < 8 { halves.0 = halves.0 << 8 | UInt64(byte) } else { halves.1 = halves.1 << 8 | UInt64(byte) }
        }
        self.init(high: halves.0, low: halves.1)
    }

    public func appendBytes(to bytes: inout [UInt8]) {
        withUnsafeBytes(of: high.bigEndian) { bytes.append(contentsOf: $0) }
        withUnsafeBytes(of: low.bigEndian) { bytes.append(contentsOf: $0) }
    }
}
