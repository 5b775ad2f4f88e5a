import Crypto

/// The id of the one PRIVATE room of two users: UUIDv5 of the sorted pair. A pair can never have two rooms, whoever
/// writes first and on whichever machine.
///
/// - Returns: nil when both are the same user: nobody has a PRIVATE room with themselves.
public func privateRoomID(_ one: UUID128, _ other: UUID128) -> UUID128? {
    guard one != other else { return nil }
    var name: [UInt8] = []
    privateRoomNamespace.appendBytes(to: &name)
    min(one, other).appendBytes(to: &name)
    max(one, other).appendBytes(to: &name)
    // RFC 9562 prescribes SHA-1 for version 5; nothing secret depends on it.
    let digest = Array(Insecure.SHA1.hash(data: name))
    guard let hashed = UUID128(bytes: digest[0..<16]) else { return nil }
    return UUID128(
        high: hashed.high & 0xFFFF_FFFF_FFFF_0FFF | 0x5000,
        low: hashed.low & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000)
}

/// Random, drawn once. Changing it would give every pair a second room.
private let privateRoomNamespace = UUID128(high: 0x6f1d_8c0e_52b7_4a39, low: 0x9e44_c2a7_13d0_f85b)

extension UUID128 {
    /// False for every other room's id: those are version 7.
    public var mayBePrivateRoom: Bool { high & 0xF000 == 0x5000 }
}
