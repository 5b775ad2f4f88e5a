import CLoad
import Glibc

/// Reads the few needed fields of a server's frame without decoding it, since ws-relay writes them at known positions.
/// A frame in another form is `other` or has no Seq: then it is decoded.
struct FrameScan {
    enum Kind: Equatable { case newMessage, response, other }

    let kind: Kind
    /// The Seq of a frame in a room's order; nil for other frames.
    var seq: Int64?
    /// The last position of a room id, before the Seq.
    private var roomAt = 0
    private let payload: UnsafeRawBufferPointer

    private static let seqKey: [UInt8] = [0xa3] + Array("Seq".utf8)
    private static let failure: [UInt8] = [0xa7] + Array("Success".utf8) + [0xc2]
    private static let roomKey: [UInt8] = [0xa6] + Array("RoomID".utf8) + [0xd9, 36]

    /// A frame begins with `Type`; one in a room's order ends with `RoomID` and `Seq`.
    init(_ payload: UnsafeRawBufferPointer) {
        self.payload = payload
        // Map header, "Type" as a string of four bytes: the value's header is at offset 6.
        guard payload.count > 18, payload[1] == 0xa4, payload[2] == UInt8(ascii: "T") else {
            kind = .other
            return
        }
        switch payload[6] {
        case 0xab where payload[7] == UInt8(ascii: "n"): kind = .newMessage
        case 0xa8 where payload[7] == UInt8(ascii: "r"): kind = .response
        default: kind = .other
        }
        for length in [2, 3, 5, 1, 9] {
            let value = payload.count - length
            guard value > 64, payload[value - 4] == 0xa3,
                Self.seqKey.withUnsafeBytes({
                    memcmp($0.baseAddress!, payload.baseAddress! + value - 4, 4) == 0
                }), let number = Self.integer(payload, at: value, length)
            else { continue }
            roomAt = value - 4 - 36
            guard
                Self.roomKey.withUnsafeBytes({
                    memcmp($0.baseAddress!, payload.baseAddress! + roomAt - 9, 9) == 0
                })
            else { return }
            seq = number
            return
        }
    }

    private static func integer(_ bytes: UnsafeRawBufferPointer, at place: Int, _ length: Int) -> Int64? {
        switch (length, bytes[place]) {
        case (1, 0...0x7f): Int64(bytes[place])
        case (2, 0xcc): Int64(bytes[place + 1])
        case (3, 0xcd): Int64(UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 1, as: UInt16.self)))
        case (5, 0xce): Int64(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 1, as: UInt32.self)))
        case (9, 0xcf):
            Int64(clamping: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 1, as: UInt64.self)))
        default: nil
        }
    }

    /// The last eight bytes of the room's id.
    var roomEnd: UInt64 { payload.loadUnaligned(fromByteOffset: roomAt + 28, as: UInt64.self) }

    /// The room's id is these 36 bytes.
    func isOf(room: [UInt8]) -> Bool {
        room.withUnsafeBytes { memcmp($0.baseAddress!, payload.baseAddress! + roomAt, 36) == 0 }
    }

    /// Whether it is a response with `Success: false`.
    var isFailure: Bool { kind == .response && place(of: Self.failure) != nil }

    /// The number that follows the run's marker in the text.
    func number(after marker: [UInt8]) -> Int? {
        guard let found = place(of: marker) else { return nil }
        let rest = payload[(found + marker.count)...]
        return rest.count < 8 ? nil : Self.eightDigits(rest.prefix(8))
    }

    private func place(of bytes: [UInt8]) -> Int? {
        let found = bytes.withUnsafeBytes { memmem(payload.baseAddress!, payload.count, $0.baseAddress!, $0.count) }
        return found.map { UnsafeRawPointer($0) - payload.baseAddress! }
    }

    /// The number of a Sign: exactly eight lower-case hexadecimal digits. `Int` would read a sign before them.
    static func eightDigits(_ bytes: some Sequence<UInt8>) -> Int? {
        var (number, count) = (0, 0)
        for byte in bytes {
            switch byte {
            case 48...57: number = number << 4 | Int(byte - 48)
            case 97...102: number = number << 4 | Int(byte - 87)
            default: return nil
            }
            count += 1
            guard count <= 8 else { return nil }
        }
        return count == 8 ? number : nil
    }
}
