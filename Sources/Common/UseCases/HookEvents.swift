extension HookEvent {
    /// - Parameters:
    ///   - room: to which it belongs; nil: to none.
    ///   - seq: its place in the room's order.
    public init(
        _ name: String, _ key: HookKey, at time: Int64, room: UUID128?, seq: Int64?,
        _ data: (inout JSONWriter) -> Void
    ) {
        var writer = JSONWriter(reserving: 1024)
        writer.map {
            $0.field("ID", key.text)
            $0.field("Event", name)
            $0.field("At", time: time)
            $0.field("RoomID", room)
            $0.field("Seq", seq)
            $0.field("Data", data)
        }
        self.init(key: key, name: name, body: writer.take())
    }

    /// Events about a file have its message's id in the room's place in their key.
    static func fileKey(_ message: UUID128, isDeleted: Bool) -> HookKey {
        HookKey(room: message, seq: isDeleted ? 1 : 0)
    }

    /// The store has deleted the file. Its message may be gone, and so its room is not always known.
    public static func fileDeleted(_ message: UUID128, room: UUID128?, at time: Int64) -> HookEvent {
        HookEvent("file.deleted", fileKey(message, isDeleted: true), at: time, room: room, seq: nil) {
            $0.map { $0.field("MessageID", message) }
        }
    }
}

extension HookEvent {
    /// A push of a message was sent to a device, or given up for a reason. Nil: the push is none of a message.
    ///
    /// - Parameter id: of the event; each try to tell a user is an event of its own.
    public static func push(
        _ push: Push, to device: PushDevice, failure: String?, id: UUID128, at time: Int64
    ) -> HookEvent? {
        guard let message = push.message else { return nil }
        return HookEvent(
            failure == nil ? "push.sent" : "push.failed", HookKey(room: id, seq: 0), at: time, room: push.room,
            seq: message.seq
        ) {
            $0.map {
                $0.field("UserID", device.user)
                $0.field("Kind", device.kind.name)
                $0.field("MessageID", message.id)
                $0.field("Reason", failure)
            }
        }
    }
}

extension RoomBatch {
    /// Made from the rooms' frames. A repeated event has the same key.
    public func hookEvents(_ families: Set<HookFamily> = HookFamily.standard) -> [HookEvent] {
        let created = families.contains(.room) ? newRooms.compactMap { rooms[$0] } : []
        let told = frames.sorted { $0.key < $1.key }.flatMap { room, frames in
            frames.flatMap { events($0, in: room, families) }
        }
        return created.map { room in
            event("room.created", HookKey(room: room.id, seq: 0)) { RoomView(room: room).write(to: &$0) }
        } + told
    }

    private func events(_ frame: RoomFrame, in room: UUID128, _ families: Set<HookFamily>) -> [HookEvent] {
        guard let whole = try? MessagePackReader.decode(frame.body.frame(frame.kind)),
            let data = whole["Data"], let (family, name) = name(of: frame.kind, data)
        else { return [] }
        var events: [HookEvent] = []
        if families.contains(family) {
            events.append(event(name, HookKey(room: room, seq: Int64(frame.seq))) { $0.value(data) })
        }
        if families.contains(.file), frame.kind == .newMessage, let file = storedFile(frame, data, in: room) {
            events.append(file)
        }
        return events
    }

    /// A forwarded message shows a file that was stored before.
    private func storedFile(_ frame: RoomFrame, _ data: WireValue, in room: UUID128) -> HookEvent? {
        guard data["File"]?.isNull == false, data["ForwardedFrom"]?.isNull != false,
            let message = data["ID"]?.string.flatMap({ UUID128($0) })
        else { return nil }
        return HookEvent(
            "file.stored", HookEvent.fileKey(message, isDeleted: false), at: now, room: room, seq: Int64(frame.seq)
        ) { $0.value(data) }
    }

    private func name(of kind: FrameKind, _ data: WireValue) -> (HookFamily, String)? {
        switch kind {
        // The room's own messages repeat the member.* events.
        case .newMessage:
            return data["MessageType"]?.string == MessageType.system.name ? nil : (.message, "message.created")
        case .messageUpdated:
            let isDeleted = data["Status"]?.string == MessageStatus.deleted.name
            return (.message, isDeleted ? "message.deleted" : "message.updated")
        case .roomUpdated:
            guard let change = data["Change"]?.string else { return nil }
            return data["Member"] == nil ? (.room, "room.\(change)") : (.member, "member.\(change)")
        default: return nil
        }
    }

    private func event(_ name: String, _ key: HookKey, _ data: (inout JSONWriter) -> Void) -> HookEvent {
        HookEvent(name, key, at: now, room: key.room, seq: key.seq, data)
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
