import ChatCore

/// The texts of a push, and its fields for the app.
struct PushText {
    /// Bytes. The services take 4,096 in all; FCM gets both texts twice, and JSON escaping may double them.
    static let maxTitle = 128
    static let maxBody = 700
    let settings: PushSettings
    let push: Push

    var title: String { text(settings.title, Self.maxTitle) }
    var body: String { text(settings.body, Self.maxBody) }

    private func text(_ template: String, _ limit: Int) -> String {
        guard case .message(let message, let unread) = push.content else { return "" }
        let values = [
            "room": message.roomName, "content": message.content,
            "sender": message.senderName.isEmpty ? "\(message.sender)" : message.senderName,
            "type": message.contentType.name, "unread": "\(unread)",
        ]
        return cut(filled(template, values), toBytes: limit)
    }

    /// Writes fields of the open map. Names and meanings are those of FCM's data; numbers are numbers here.
    ///
    /// - Parameter isLean: without texts and names, for a service that found it too large.
    func writeFields(to writer: inout JSONWriter, isLean: Bool = false) {
        writer.field("RoomID", push.room)
        writer.field("Badge", push.badge)
        switch push.content {
        case .seen(let seq):
            writer.field("Type", "seen")
            writer.field("Seq", seq)
        case .deleted(let message, let seq):
            writer.field("Type", "deleted")
            writer.field("MessageID", message)
            writer.field("Seq", seq)
        case .message(let message, let unread):
            writer.field("Type", "message")
            writer.field("MessageID", message.id)
            writer.field("SenderID", message.sender)
            writer.field("Seq", message.seq)
            writer.field("Unread", unread)
            writer.field("ContentType", message.contentType.name)
            if isLean { return }
            writer.field("SenderName", cut(message.senderName, toBytes: Self.maxTitle))
            writer.field("Title", title)
            writer.field("Body", body)
        }
    }

    /// At most 32 letters of base64url: a newer push of a room replaces the older one (RFC 8030, 5.4).
    static func topic(of room: UUID128) -> String { "\(room)".filter { $0 != "-" } }
}

/// Replaces each `{name}` by its value. Unknown names stay as they are; values are not expanded again.
func filled(_ template: String, _ values: [String: String]) -> String {
    var result = ""
    var rest = template[...]
    while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
        result += rest[..<open]
        result += values[String(rest[rest.index(after: open)..<close])] ?? String(rest[open...close])
        rest = rest[rest.index(after: close)...]
    }
    return result + rest
}

/// Cuts at a character boundary.
func cut(_ text: String, toBytes limit: Int) -> String {
    guard text.utf8.count > limit else { return text }
    var kept = ""
    var bytes = 3
    for character in text {
        bytes += character.utf8.count
        guard bytes <= limit else { break }
        kept.append(character)
    }
    return kept + "…"
}
