/// The fields from which a message's shape is written: a value, or a row of the store. A page of history is written
/// directly from rows; building values first took a third of the worker's CPU time.
public protocol MessageFields {
    associatedtype Text: WireText
    var id: UUID128 { get }
    var roomID: UUID128 { get }
    var senderID: UUID128 { get }
    /// nil: nothing is known of the sender.
    var sender: Profile? { get }
    var seq: Int64 { get }
    var contentText: Text { get }
    var contentType: ContentType { get }
    var messageType: MessageType { get }
    var parentMessageID: UUID128? { get }
    var forwardedFrom: UUID128? { get }
    var signText: Text? { get }
    var status: MessageStatus { get }
    var file: FileInfo? { get }
    var reactions: [Reaction] { get }
    var editedAt: Int64? { get }
    var deletedAt: Int64? { get }
    var pinnedAt: Int64? { get }
    var changeSeq: Int64 { get }
    /// The users mentioned by `@` and a UUID in the content.
    var mentions: [UUID128] { get }
    var createdAt: Int64 { get }
}

/// Text that can be written out, whoever owns its memory.
public protocol WireText {
    func write<W: WireWriter>(to writer: inout W)
}

extension String: WireText {
    @inlinable
    public func write<W: WireWriter>(to writer: inout W) { writer.string(self) }
}

extension Message: MessageFields {
    public var contentText: String { content }
    public var signText: String? { sign }

    /// Specialised for JSON here, because the API's module cannot see the body.
    @_specialize(where W == JSONWriter)
    public func write<W: WireWriter>(to writer: inout W) { writeFields(to: &writer) }
}

extension MessageFields {
    /// `Data` of a message.
    ///
    /// - Parameters:
    ///   - more: the number of fields that `extra` adds.
    @inlinable
    public func writeFields<W: WireWriter>(
        to writer: inout W, and more: Int = 0, _ extra: (inout W) -> Void = { _ in }
    ) {
        writer.beginMap(20 + more)
        writer.key("ID")
        writer.uuid(id)
        writer.key("RoomID")
        writer.uuid(roomID)
        writer.key("SenderID")
        writer.uuid(senderID)
        writer.key("Sender")
        writer.optional(sender) { $1.write(as: senderID, to: &$0) }
        writer.key("Seq")
        if seq > 0 { writer.int(seq) } else { writer.null() }
        writer.key("Content")
        contentText.write(to: &writer)
        writer.key("ContentType")
        writer.string(contentType.name)
        writer.key("MessageType")
        writer.string(messageType.name)
        writer.key("ParentMessageID")
        writer.optional(parentMessageID) { $0.uuid($1) }
        writer.key("ForwardedFrom")
        writer.optional(forwardedFrom) { $0.uuid($1) }
        writer.key("Sign")
        writer.optional(signText) { $1.write(to: &$0) }
        writer.key("Status")
        writer.string(status.name)
        writer.key("File")
        writer.optional(file) { $1.write(to: &$0) }
        writer.key("Reactions")
        let reactions = reactions
        writer.beginArray(reactions.count)
        for reaction in reactions { reaction.write(to: &writer) }
        writer.endArray()
        writer.key("EditedAt")
        writer.optional(editedAt) { $0.timestamp($1) }
        writer.key("DeletedAt")
        writer.optional(deletedAt) { $0.timestamp($1) }
        writer.key("PinnedAt")
        writer.optional(pinnedAt) { $0.timestamp($1) }
        writer.key("ChangeSeq")
        if changeSeq > 0 { writer.int(changeSeq) } else { writer.null() }
        writer.key("Mentions")
        let mentions = mentions
        writer.beginArray(mentions.count)
        for user in mentions { writer.uuid(user) }
        writer.endArray()
        writer.key("CreatedAt")
        writer.timestamp(createdAt)
        extra(&writer)
        writer.endMap()
    }
}

/// Messages in display order.
public protocol MessagePage {
    var count: Int { get }
    func write(_ index: Int, to writer: inout JSONWriter)
    /// The message's Seq, and that of its newest change.
    func place(_ index: Int) -> (seq: Int64, changeSeq: Int64)
}

extension [Message]: MessagePage {
    public func write(_ index: Int, to writer: inout JSONWriter) { self[index].write(to: &writer) }
    public func place(_ index: Int) -> (seq: Int64, changeSeq: Int64) { (self[index].seq, self[index].changeSeq) }
}
