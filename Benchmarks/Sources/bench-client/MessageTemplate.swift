/// The client frame of one socket, masked and complete but for its number: MessagePack in the form of the protocol's
/// first example.
struct MessageTemplate {
    /// The text in every message of this run, before its number.
    let marker: [UInt8]
    private var payload: [UInt8] = []
    private var numberAt = 0
    private var signAt = 0

    /// - Parameters:
    ///   - run: eight characters that no other run has.
    ///   - bytes: the length of the text.
    init(room: String, run: String, bytes: Int) {
        marker = Array("#\(run):".utf8)
        payload.append(0x80 | 8)
        field("Type", "message")
        field("RoomID", room)
        field("ReceiverID", "")
        text("Content")
        let content = marker + [UInt8](repeating: UInt8(ascii: "."), count: bytes - marker.count)
        header(content.count)
        numberAt = payload.count + marker.count
        payload += content
        field("ContentType", "text")
        field("MessageType", "direct")
        text("Sign")
        header(36)
        signAt = payload.count + 28
        payload += Array("bench-\(run)-".utf8) + [UInt8](repeating: UInt8(ascii: "0"), count: 36 - 7 - run.utf8.count)
        field("ParentMessageID", "")
    }

    private mutating func field(_ name: String, _ value: String) {
        text(name)
        text(value)
    }

    private mutating func text(_ value: String) {
        header(value.utf8.count)
        payload += Array(value.utf8)
    }

    private mutating func header(_ count: Int) {
        payload += count < 32 ? [0xa0 | UInt8(count)] : [0xd9, UInt8(count)]
    }

    /// Writes message `number` as a masked frame; returns its length.
    mutating func write(number: Int, mask: UInt32, to out: UnsafeMutableRawPointer) -> Int {
        putHex(number, at: numberAt)
        putHex(number, at: signAt)
        let count = payload.count
        out.storeBytes(of: 0x82, as: UInt8.self)
        out.storeBytes(of: 0x80 | 126, toByteOffset: 1, as: UInt8.self)
        out.storeBytes(of: UInt16(count).bigEndian, toByteOffset: 2, as: UInt16.self)
        out.storeBytes(of: mask, toByteOffset: 4, as: UInt32.self)
        let wide = UInt64(mask) | UInt64(mask) << 32
        payload.withUnsafeBytes { bytes in
            var at = 0
            while at + 8 <= count {
                out.storeBytes(
                    of: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) ^ wide, toByteOffset: 8 + at,
                    as: UInt64.self)
                at += 8
            }
            while at < count {
                out.storeBytes(
                    of: bytes[at] ^ UInt8(truncatingIfNeeded: mask >> UInt32(at % 4 * 8)), toByteOffset: 8 + at,
                    as: UInt8.self)
                at += 1
            }
        }
        return 8 + count
    }

    private mutating func putHex(_ number: Int, at place: Int) {
        for digit in 0..<8 {
            let nibble = UInt8(truncatingIfNeeded: number >> ((7 - digit) * 4)) & 15
            payload[place + digit] = nibble < 10 ? 48 + nibble : 87 + nibble
        }
    }
}
