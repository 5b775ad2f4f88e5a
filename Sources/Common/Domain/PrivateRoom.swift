import Crypto

/// The id of the one PRIVATE room of two users: UUIDv5 of the sorted pair. A pair can never have two rooms, whoever
/// writes first and on whichever machine.
///
/// - Returns: nil when both are the same user: nobody has a PRIVATE room with themselves.
public func privateRoomID(_ one: UUID128, _ other: UUID128) -> UUID128? {
    guard one != other else { return nil }
    var name: [UInt8] = []
    min(one, other).appendBytes(to: &name)
    max(one, other).appendBytes(to: &name)
    return .v5(name, in: privateRoomNamespace)
}

/// Random, drawn once. Changing it would give every pair a second room.
private let privateRoomNamespace = UUID128(high: 0x6f1d_8c0e_52b7_4a39, low: 0x9e44_c2a7_13d0_f85b)

extension UUID128 {
    /// False for every other room's id: those are version 7.
    public var mayBePrivateRoom: Bool { high & 0xF000 == 0x5000 }

    /// RFC 9562 version 5: always the same for the same name and namespace.
    static func v5(_ name: [UInt8], in namespace: UUID128) -> UUID128 {
        var bytes: [UInt8] = []
        namespace.appendBytes(to: &bytes)
        // SHA-1 is what RFC 9562 prescribes; nothing secret depends on it.
        var high: UInt64 = 0
        var low: UInt64 = 0
        for (index, byte) in Insecure.SHA1.hash(data: bytes + name).prefix(16).enumerated() {
            if index < 8 { high = high << 8 | UInt64(byte) } else { low = low << 8 | UInt64(byte) }
        }
        return UUID128(
            high: high & 0xFFFF_FFFF_FFFF_0FFF | 0x5000, low: low & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000)
    }
}
