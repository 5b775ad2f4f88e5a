import ChatCore

/// A room frame in all forms that sockets need, each made at its first use.
struct EncodedFrame {
    private let frame: RoomFrame
    private let room: TrackedRoom
    private let sockets: Sockets
    /// By form: JSON or not, compressed or not.
    private var indexes = InlineArray<4, UInt32>(repeating: noIndex)
    private var event: SharedFrame?

    init(_ frame: RoomFrame, _ room: TrackedRoom, _ sockets: Sockets) {
        (self.frame, self.room, self.sockets) = (frame, room, sockets)
    }

    /// Its number in this tick's writes.
    @inline(__always)
    mutating func index(asResponse: Bool, _ flags: Connection.Flags) -> UInt32 {
        if asResponse { return sockets.writes.add(make(.response, sign: frame.sign, flags)) }
        let form = (flags.contains(.json) ? 1 : 0) + (flags.contains(.deflated) ? 2 : 0)
        if indexes[form] == noIndex { indexes[form] = sockets.writes.add(make(frame.kind, sign: nil, flags)) }
        return indexes[form]
    }

    mutating func asEvent() -> SharedFrame {
        if let event { return event }
        let made = SharedFrame.event(frame.body, frame.kind, place: place)
        event = made
        return made
    }

    private var place: SharedFrame.Place? { frame.seq == 0 ? nil : .init(room: room.id, seq: frame.seq) }

    private func make(_ kind: FrameKind, sign: String?, _ flags: Connection.Flags) -> SharedFrame {
        sockets.frames(for: flags).make(frame.body, kind, sign: sign, place: place)
    }
}
