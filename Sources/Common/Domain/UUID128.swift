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
            writeText(to: buffer.baseAddress!)
            return 36
        }
    }

    /// Appends the 36 bytes of ``description``.
    public func appendText(to bytes: inout [UInt8]) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 36) { text in
            writeText(to: text.baseAddress!)
            bytes.append(contentsOf: text)
        }
    }

    /// Writes the 36 bytes of ``description``: eight digits of a 32-bit word at once, in groups of 8-4-4-4-12.
    func writeText(to place: UnsafeMutablePointer<UInt8>) {
        let place = UnsafeMutableRawPointer(place)
        let words = (hexText(of: high >> 32), hexText(of: high), hexText(of: low >> 32), hexText(of: low))
        place.storeBytes(of: words.0, as: UInt64.self)
        place.storeBytes(of: UInt32(truncatingIfNeeded: words.1), toByteOffset: 9, as: UInt32.self)
        place.storeBytes(of: UInt32(truncatingIfNeeded: words.1 >> 32), toByteOffset: 14, as: UInt32.self)
        place.storeBytes(of: UInt32(truncatingIfNeeded: words.2), toByteOffset: 19, as: UInt32.self)
        place.storeBytes(of: UInt32(truncatingIfNeeded: words.2 >> 32), toByteOffset: 24, as: UInt32.self)
        place.storeBytes(of: words.3, toByteOffset: 28, as: UInt64.self)
        let hyphen = UInt8(ascii: "-")
        place.storeBytes(of: hyphen, toByteOffset: 8, as: UInt8.self)
        place.storeBytes(of: hyphen, toByteOffset: 13, as: UInt8.self)
        place.storeBytes(of: hyphen, toByteOffset: 18, as: UInt8.self)
        place.storeBytes(of: hyphen, toByteOffset: 23, as: UInt8.self)
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

/// The eight lower-case digits of the low 32 bits, the first in the lowest byte: each nibble in a byte of its own, then
/// '0' is added to all, and the distance from ':' to 'a' to those above 9.
private func hexText(of word: UInt64) -> UInt64 {
    var digits = UInt64(UInt32(truncatingIfNeeded: word).byteSwapped)
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff
    digits = (digits >> 4 | digits << 8) & 0x0f0f_0f0f_0f0f_0f0f
    let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    return (digits &+ 0x3030_3030_3030_3030 &+ letters &* 0x27).littleEndian
}
