import ChatCore

/// The state of a hand-over: each owner writes and reads its own parts. Large and stable ones (channels, descriptors)
/// are sent ahead while this relay still serves; `export` contains the rest, as of one moment. Times are those of the
/// machine's monotonic clock.
extension Hub {
    /// The channels to which a successor should subscribe before the hand-over.
    func prologue() -> [UInt8] {
        var state = StateWriter()
        state.put(relayID)
        state.put(array: Array(users.indexes.keys))
        state.put(array: table.ids)
        return state.bytes
    }

    /// The state as of now, and the descriptors of sockets that connected after the successor got the others (`shown`,
    /// by handle), in the order of the state.
    func export(
        shown: Set<UInt64> = [], as format: StateFormat = .described
    ) -> (bytes: [UInt8], descriptors: [Int32]) {
        resumes.endAllHolds()
        resumes.goOnEarly(atOnce: true)
        // After this no frame waits for the end of the tick, and all closed sockets are freed.
        endTick()
        let open = sockets.handedOver
        let handles = open.map(sockets.connections.handle)
        let handedOver = Set(handles)
        var parts = StatePartsWriter(format)
        parts.add("serial") { $0.put(sockets.serial) }
        parts.add("users") { users.write(to: &$0) }
        parts.add("rooms") { table.write(to: &$0) }
        sockets.writeRows(of: open, to: &parts, as: format)
        parts.add("unanswered") { unanswered.write(of: open.map { sockets[$0].serial }, to: &$0) }
        parts.add("resumes") { resumes.write(of: handedOver, to: &$0) }
        parts.add("departures") { presence.write(to: &$0) }
        // The last three are missing in raw states of older releases.
        parts.add("requests") { resumes.writeRequests(of: handedOver, to: &$0) }
        parts.add("epochs") { table.writeEpochs(to: &$0) }
        parts.add("events") { sockets.writeStreams(of: open, to: &$0) }
        // In a raw state nothing may follow the parts that its reader knows.
        if format == .described { parts.add("told") { writeTold(of: handles, to: &$0) } }
        let new = zip(open, handles).filter { !shown.contains($1) }
        return (parts.bytes, new.map { sockets[$0.0].descriptor })
    }

    /// Takes over what `export` wrote. After a failure this hub is unusable; the predecessor still has its sockets.
    ///
    /// - Parameters:
    ///   - prepared: slots here for sockets that were sent ahead, by the predecessor's handles.
    ///   - heard: users and rooms whose channels are subscribed.
    func adopt(
        _ bytes: [UInt8], descriptors: [Int32], prepared: [UInt64: UInt32] = [:], heard: Set<UUID128>
    ) throws(StateUnreadable) {
        var parts = try StatePartsReader(bytes)
        sockets.serial = try parts.read("serial") { state throws(StateUnreadable) in try state.take() }
        let (userAt, ready) = try parts.read("users") { state throws(StateUnreadable) in
            try users.adopt(from: &state)
        }
        let behind = try parts.read("rooms") { state throws(StateUnreadable) in
            try table.adopt(from: &state, users, userAt, heard: heard)
        }
        var handed = try sockets.readRows(from: &parts)
        try sockets.adopt(&handed, descriptors, prepared: prepared) { slot, user in
            guard let user = userAt[user] else { return false }
            users.attach(slot, to: user)
            return true
        }
        try parts.read("slow", missing: ()) { state throws(StateUnreadable) in
            try sockets.adoptSlow(from: &state, handed)
        }
        try adoptUnfinished(from: &parts, handed)
        users.goOn(ready: ready, heard: heard)
        for room in behind { rooms.fetch(room) }
    }

    private func adoptUnfinished(
        from parts: inout StatePartsReader, _ handed: Sockets.HandedRows
    ) throws(StateUnreadable) {
        try parts.read("unanswered", missing: ()) { state throws(StateUnreadable) in
            try unanswered.adopt(from: &state)
        }
        try parts.read("resumes", missing: ()) { state throws(StateUnreadable) in
            try resumes.adopt(from: &state, handed.slots)
        }
        try parts.read("departures", missing: ()) { state throws(StateUnreadable) in try presence.adopt(from: &state) }
        let requests = try parts.read("requests", missing: []) { state throws(StateUnreadable) in
            try HandedRequest.all(from: &state)
        }
        try parts.read("epochs", missing: ()) { state throws(StateUnreadable) in try table.adoptEpochs(from: &state) }
        try parts.read("events", missing: ()) { state throws(StateUnreadable) in
            try sockets.adoptStreams(from: &state, handed)
        }
        if parts.format == .described {
            try parts.read("told", missing: ()) { state throws(StateUnreadable) in
                try adoptTold(from: &state, handed)
            }
        }
        // Requests come after their sockets are complete.
        for request in requests { resumes.adopt(request, handed.slots) }
    }
}
