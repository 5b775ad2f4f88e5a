/// Writes JSON without white space.
///
/// Each key and each value is one write into allocated memory: a page of history has some 1,600 of them.
public struct JSONWriter: WireWriter, Sendable {
    /// The first `used` bytes are the text; the rest is room.
    @usableFromInline var storage: [UInt8]
    @usableFromInline var used = 0
    @usableFromInline var needsComma = false

    public init(reserving capacity: Int = 256) { storage = [UInt8](repeating: 0, count: capacity) }

    /// Returns the text and empties the writer, without copying.
    public mutating func take() -> [UInt8] {
        storage.removeLast(storage.count - used)
        defer { self = JSONWriter(reserving: 0) }
        return storage
    }

    public mutating func beginMap(_ size: MapSize) -> OpenMap {
        open(UInt8(ascii: "{"))
        return OpenMap()
    }

    public mutating func endMap(_ map: OpenMap) { close(UInt8(ascii: "}")) }
    public mutating func beginArray(_ count: Int) { open(UInt8(ascii: "[")) }
    public mutating func endArray() { close(UInt8(ascii: "]")) }

    /// Inlined: a name becomes a few stores instead of a copy of unknown length.
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

    public mutating func key(named name: String) {
        string(name)
        needsComma = false
        write(1) { $0[0] = UInt8(ascii: ":") }
        needsComma = false
    }

    public mutating func null() { literal("null") }
    public mutating func bool(_ value: Bool) { literal(value ? "true" : "false") }
    public mutating func int(_ value: Int64) { raw(String(value).utf8) }

    /// JSON has no infinities and no NaN: they become null, as in JavaScript.
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

    /// JSON has no bytes: they become lower-case hexadecimal text.
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

    /// Appends bytes that are already JSON.
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

    /// Lets `body` write exactly `count` bytes, after a comma when one is needed; the next value needs one again.
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

/// Whether the text contains a control character, a quote or a backslash. Reads sixteen bytes at a time with the
/// arithmetic of "Bit Twiddling Hacks" (a byte less than n, a byte equal to n): `SIMD16` compares a byte at a time
/// here.
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
