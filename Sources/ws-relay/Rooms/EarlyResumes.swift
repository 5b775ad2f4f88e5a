import ChatCore

/// A client that moves was told of a frame by the relay that it leaves, and this one has not heard of it yet. Its resume of
/// that room waits for the frame, for a moment.
struct EarlyResume {
    /// Long enough for a relay that is busy with the clients of a drained host.
    static let limit: Int64 = 1000
    /// Of all sockets. The next one is answered as if it were late.
    static let maxOfAll = 1024
    /// Of one user's sockets.
    static let maxOfUser = 64

    let number: UInt64
    let handle: UInt64
    let room: UUID128
    let last: UInt64
    let epoch: Int64?
    /// Milliseconds of the relay's clock.
    let until: Int64

    /// - Parameter room: as it is here.
    static func waits(_ last: UInt64, epoch: Int64?, in room: TrackedRoom) -> Bool {
        last > room.sequencer.last && last - room.sequencer.last <= Resumes.maxFrames
            && epoch ?? room.epoch == room.epoch
    }
}

extension Resumes {
    /// The end of a tick: those whose frame has come, and those that have waited for too long.
    ///
    /// - Parameter atOnce: also all others.
    func goOnEarly(atOnce: Bool = false) {
        guard !early.isEmpty else { return }
        let all = early
        early = []
        for one in all {
            if !atOnce, let room = table[one.room], sockets.connections.slot(one.handle) != nil,
                room.sequencer.last < one.last, sockets.clock.milliseconds < one.until
            {
                early.append(one)
            } else {
                finish(one)
            }
        }
    }
}
