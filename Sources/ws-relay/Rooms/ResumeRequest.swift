import ChatCore

/// One `resume` of a client: it is answered when each of its rooms is finished.
struct ResumeRequest {
    struct ResumedRoom {
        var room: UUID128
        /// The Seq up to which the client has caught up.
        var seq: UInt64 = 0
        var epoch: Int64 = 1
        var needsREST = false
        var error: Refusal?
    }

    let handle: UInt64
    let sign: String?
    var entries: [ResumedRoom] = []
    /// The number of unfinished rooms.
    var open = 0
}

extension ResumeRequest.ResumedRoom: WireShape {
    func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            $0.field("RoomID", room)
            $0.field("Seq", Int64(clamping: seq))
            $0.field("Epoch", ifAny: error == nil ? epoch : nil)
            $0.field("Resync", ifAny: needsREST ? true : nil)
            $0.field("Error", ifAny: error?.text)
        }
    }
}

// MARK: Hand-over

extension ResumeRequest {
    /// - Parameter open: its unfinished rooms.
    func write(open: [UUID128], to state: inout StateWriter) {
        state.put(handle)
        state.put(sign != nil)
        state.put(sign ?? "")
        state.put(array: open)
        state.put(UInt32(entries.count))
        for entry in entries {
            state.put(entry.room)
            state.put(entry.seq)
            state.put(entry.needsREST)
            state.put(entry.error?.text ?? "")
        }
    }
}

/// A `resume` that is not answered yet, with the predecessor's handle of its socket.
struct HandedRequest {
    let handle: UInt64
    let sign: String?
    let open: [UUID128]
    let entries: [ResumeRequest.ResumedRoom]

    static func all(from state: inout StateReader) throws(StateUnreadable) -> [HandedRequest] {
        var requests: [HandedRequest] = []
        for _ in 0..<(try state.take(UInt32.self)) { requests.append(try HandedRequest(from: &state)) }
        return requests
    }

    private init(from state: inout StateReader) throws(StateUnreadable) {
        handle = try state.take()
        let hasSign = try state.take(Bool.self)
        let text = try state.takeText()
        sign = hasSign ? text : nil
        open = try state.takeArray()
        var entries: [ResumeRequest.ResumedRoom] = []
        for _ in 0..<(try state.take(UInt32.self)) {
            var entry = ResumeRequest.ResumedRoom(
                room: try state.take(), seq: try state.take(), needsREST: try state.take())
            let error = try state.takeText()
            if !error.isEmpty { entry.error = Refusal(answer: error) }
            entries.append(entry)
        }
        self.entries = entries
    }
}
