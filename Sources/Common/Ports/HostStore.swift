/// What the host application asks of the store directly.
public protocol HostStore: AnyObject {
    func owner(of room: UUID128) throws(StoreError) -> UUID128?
    /// Rooms that the user is, or was, in; deleted ones too.
    func roomsEver(of user: UUID128) throws(StoreError) -> [UUID128]
    /// What the user keeps outside of rooms: devices, blocks, settings.
    func forget(_ user: UUID128) throws(StoreError)
    /// A room with its members, whoever they are today; nil: there is none.
    func room(_ room: UUID128) throws(StoreError) -> (room: Room, members: [Member])?
    /// Messages after a Seq, oldest first, each with what it said before its edits.
    func messages(of room: UUID128, after: Int64, limit: Int) throws(StoreError) -> [ExportedMessage]
    /// Rooms of a type, after one in the order of ids, whose oldest message is from before a time.
    func rooms(_ type: RoomType, withMessagesBefore: Int64, after: UUID128, limit: Int) throws(StoreError) -> [UUID128]
    /// Removes a part of what is left of a room that was deleted before a time, so that no statement takes long. Nothing
    /// of it comes back: its users' Signs may be used again.
    ///
    /// - Returns: false: there is no such room any more.
    func removeDeletedRoom(before: Int64) throws(StoreError) -> Bool
}

public struct ExportedMessage: Sendable, Equatable {
    public var message: Message
    public var edits: [EarlierContent]

    public init(message: Message, edits: [EarlierContent]) {
        self.message = message
        self.edits = edits
    }

    public func write<W: WireWriter>(to writer: inout W) {
        message.writeFields(to: &writer, and: 1) { writer in
            writer.key("Edits")
            writer.beginArray(edits.count)
            for edit in edits { edit.write(to: &writer) }
            writer.endArray()
        }
    }
}
