import ChatCore

/// Restores the rooms of a dead relay. Their members are known as of today, their frames as of the crash. The frames in
/// between tell who joined and left, so going back through them finds the members at the crash.
extension Hub {
    /// Chunks kept while a room waits for its first frames; the rest is fetched.
    private static let parkedChunks = 256

    func park(_ chunk: FrameChunk, in room: TrackedRoom) {
        guard let last = chunk.frames.last?.seq, last > 0 else { return }
        if room.parked.count < Self.parkedChunks {
            room.parked.append(chunk)
        } else {
            room.expected = max(room.expected, last)
        }
    }

    func rewind(_ room: TrackedRoom, by frames: [RoomFrame]) {
        room.mustRewind = false
        for frame in frames.reversed() {
            for id in frame.joined { if let user = users.index(id) { remove(user, from: room) } }
            for id in frame.left {
                guard let user = users.index(id) else { continue }
                add(user, to: room)
                users.forEachConnection(of: user, connections) { slot in
                    guard let state = slowIfAny(slot), let first = state.passed[room.id] else { return }
                    state.held.append(.init(room: room.id, last: first - 1))
                }
            }
        }
        // Users who joined since get nothing from before.
        for id in frames.flatMap(\.joined) {
            guard let user = users.index(id), !room.members.contains(user) else { continue }
            users.forEachConnection(of: user, connections) { _ = takeHeld(room.id, of: $0) }
        }
    }

    func unpark(_ room: TrackedRoom) {
        let parked = room.parked
        room.parked = []
        for chunk in parked { received(chunk) }
    }
}
