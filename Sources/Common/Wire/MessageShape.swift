/// What a message's shape is written from: the value, or a row of the store, from which a page of history is written as
/// it lies there. Values between the two were a third of the worker's CPU for a page.
public protocol MessageFields {
    associatedtype Text: WireText
    var id: UUID128 { get }
    var roomID: UUID128 { get }
    var senderID: UUID128 { get }
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
    /// Who is meant by `@` and a UUID in the content.
    var mentions: [UUID128] { get }
    var createdAt: Int64 { get }
}

/// Text of any owner that can be written out.
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

    /// Compiled for JSON here: the API's module sees no body to do that with.
    @_specialize(where W == JSONWriter)
    public func write<W: WireWriter>(to writer: inout W) { writeFields(to: &writer) }
}

extension MessageFields {
    /// `Data` of a message.
    ///
    /// - Parameters:
    ///   - more: how many fields `extra` adds to it.
    @inlinable
    public func writeFields<W: WireWriter>(
        to writer: inout W, and more: Int = 0, _ extra: (inout W) -> Void = { _ in }
    ) {
        writer.beginMap(19 + more)
        writer.key("ID")
        writer.uuid(id)
        writer.key("RoomID")
        writer.uuid(roomID)
        writer.key("SenderID")
        writer.uuid(senderID)
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

/// Messages in the order in which they are shown.
public protocol MessagePage {
    var count: Int { get }
    func write(_ index: Int, to writer: inout JSONWriter)
    /// The message's place in the room's order, and that of its newest change.
    func place(_ index: Int) -> (seq: Int64, changeSeq: Int64)
}

extension [Message]: MessagePage {
    public func write(_ index: Int, to writer: inout JSONWriter) { self[index].write(to: &writer) }
    public func place(_ index: Int) -> (seq: Int64, changeSeq: Int64) { (self[index].seq, self[index].changeSeq) }
}
