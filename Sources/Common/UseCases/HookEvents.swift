extension RoomBatch {
    /// Made from the rooms' frames. A repeated event has the same key.
    public func hookEvents() -> [HookEvent] {
        let created = newRooms.compactMap { rooms[$0] }.map { room in
            event("room.created", HookKey(room: room.id, seq: 0)) { RoomView(room: room).write(to: &$0) }
        }
        let told = frames.sorted { $0.key < $1.key }.flatMap { room, frames in
            frames.compactMap { event($0, in: room) }
        }
        return created + told
    }

    private func event(_ frame: RoomFrame, in room: UUID128) -> HookEvent? {
        guard let whole = try? MessagePackReader.decode(frame.body.frame(frame.kind)),
            let data = whole["Data"], let name = name(of: frame.kind, data)
        else { return nil }
        return event(name, HookKey(room: room, seq: Int64(frame.seq))) { $0.value(data) }
    }

    private func name(of kind: FrameKind, _ data: WireValue) -> String? {
        switch kind {
        // The room's own messages repeat the member.* events.
        case .newMessage: return data["MessageType"]?.string == MessageType.system.name ? nil : "message.created"
        case .messageUpdated:
            return data["Status"]?.string == MessageStatus.deleted.name ? "message.deleted" : "message.updated"
        case .roomUpdated:
            guard let change = data["Change"]?.string else { return nil }
            return data["Member"] == nil ? "room.\(change)" : "member.\(change)"
        default: return nil
        }
    }

    private func event(_ name: String, _ key: HookKey, _ data: (inout JSONWriter) -> Void) -> HookEvent {
        var writer = JSONWriter(reserving: 1024)
        writer.map {
            $0.field("ID", key.text)
            $0.field("Event", name)
            $0.field("At", time: now)
            $0.field("RoomID", key.room)
            $0.field("Seq", key.seq)
            $0.field("Data", data)
        }
        return HookEvent(key: key, name: name, body: writer.take())
    }

    /// Throws when the host application does not allow a room, or that users come into one.
    func refuseForbidden(_ id: UUID128) throws(Refusal) {
        switch verdicts[id] {
        case nil, .rewrite: return
        case .reject(let reason): throw Refusal(.rejected, reason)
        case .unavailable: throw .unavailable("the message check")
        }
    }

    /// The content that the host application allows to be stored.
    func judged(_ content: String, _ command: Command) throws(Refusal) -> String {
        switch verdicts[command.id] {
        case nil: return content
        case .rewrite(let content): return content
        case .reject(let reason): throw Refusal(.rejected, reason)
        case .unavailable: throw .unavailable("the message check")
        }
    }
}
