import ChatCore

extension Outbox {
    /// Writes whole frames and the progress within the first: the successor must continue in the middle of it.
    func write(to state: inout StateWriter) {
        state.put(UInt32(count))
        state.put(taken)
        forEachWaiting { frame, since in
            state.put(since)
            state.put(array: frame.withBytes(Array.init))
            state.put(frame.isEphemeral)
            state.put(frame.place != nil)
            guard let place = frame.place else { return }
            state.put(place.room)
            state.put(place.seq)
        }
    }

    init(from state: inout StateReader) throws(StateUnreadable) {
        self.init()
        let count = try state.take(UInt32.self)
        let taken = try state.take(Int.self)
        for index in 0..<count {
            let since = try state.take(UInt32.self)
            let bytes = try state.takeArray(UInt8.self)
            let isEphemeral = try state.take(Bool.self)
            var place: SharedFrame.Place?
            if try state.take(Bool.self) {
                place = .init(room: try state.take(), seq: try state.take())
            }
            let frame = SharedFrame(whole: bytes, isEphemeral: isEphemeral, place: place)
            restore(frame, since: since, taken: index == 0 ? taken : 0)
        }
    }
}
