/// FNV-1a, 64 bits (offset basis and prime as published by Fowler, Noll and Vo).
public func fnv1a64(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes {
        hash ^= UInt64(byte)
        hash &*= 0x0000_0100_0000_01b3
    }
    return hash
}

/// The queue for all commands of a key: FNV-1a of the id's 36-character lower-case text, modulo the number of queues.
///
/// It hashes the text and not the 16 bytes, so that any other program can compute it from the ids that it sees.
public func queueIndex(of id: UUID128, queues: Int) -> Int {
    precondition(queues > 0, "there is at least one queue")
    var text: [UInt8] = []
    text.reserveCapacity(36)
    id.appendText(to: &text)
    return Int(fnv1a64(text) % UInt64(queues))
}
