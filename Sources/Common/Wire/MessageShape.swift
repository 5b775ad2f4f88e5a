/// The fields from which a message's shape is written: a value, or a row of the store. A page of history is written
/// directly from rows; building values first took a third of the worker's CPU time.
public protocol MessageFields {
    associatedtype Text: WireShape
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
    var metadata: Metadata? { get }
}

extension String: WireShape {
    @inlinable
    public func write<W: WireWriter>(to writer: inout W) { writer.string(self) }
}

extension Message: MessageFields, WireShape {
    public var contentText: String { content }
    public var signText: String? { sign }

    /// Specialised for JSON here, because the API's module cannot see the body.
    @_specialize(where W == JSONWriter)
    public func write<W: WireWriter>(to writer: inout W) { writeFields(to: &writer) }
}

extension MessageFields {
    /// `Data` of a message, with the fields that `extra` adds.
    @inlinable
    public func writeFields<W: WireWriter>(
        to writer: inout W, _ extra: (inout W) -> Void = { _ in }
    ) {
        writer.map(.long) {
            $0.field("ID", id)
            $0.field("RoomID", roomID)
            $0.field("SenderID", senderID)
            $0.field("Sender", sender) { $1.write(as: senderID, to: &$0) }
            $0.field("Seq", seq > 0 ? seq : nil)
            $0.field("Content", contentText)
            $0.field("ContentType", contentType.name)
            $0.field("MessageType", messageType.name)
            $0.field("ParentMessageID", parentMessageID)
            $0.field("ForwardedFrom", forwardedFrom)
            $0.field("Sign", signText)
            $0.field("Status", status.name)
            $0.field("File", file)
            $0.field("Reactions", reactions)
            $0.field("EditedAt", time: editedAt)
            $0.field("DeletedAt", time: deletedAt)
            $0.field("PinnedAt", time: pinnedAt)
            $0.field("ChangeSeq", changeSeq > 0 ? changeSeq : nil)
            $0.field("Mentions", mentions)
            $0.field("CreatedAt", time: createdAt)
            $0.field("Metadata", ifAny: metadata)
            extra(&$0)
        }
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
