import ChatCore

/// The rooms of recently requested messages.
struct MessageRooms {
    /// Above it the cache is emptied.
    private static let maxMessages = 10_000
    private var rooms: [UUID128: UUID128] = [:]

    subscript(message: UUID128) -> UUID128? { rooms[message] }

    mutating func remember(_ message: UUID128, in room: UUID128) {
        if rooms.count >= Self.maxMessages { rooms.removeAll(keepingCapacity: true) }
        rooms[message] = room
    }
}
