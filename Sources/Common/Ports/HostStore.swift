/// The host application's direct reads and writes of the store.
public protocol HostStore: AnyObject {
    func owner(of room: UUID128) throws(StoreError) -> UUID128?
    /// Rooms that the user is or was in, including deleted ones.
    func roomsEver(of user: UUID128) throws(StoreError) -> [UUID128]
    /// Notes that a user is erased: no import brings back what is older. Afterwards ``roomsEver(of:)`` has every room that
    /// an import stored without this note.
    func noteErasure(of user: UUID128) throws(StoreError)
    /// Deletes a user's data outside of rooms: devices, blocks, settings.
    func forget(_ user: UUID128) throws(StoreError)
    /// A room with its current and former members; nil when it does not exist.
    func room(_ room: UUID128) throws(StoreError) -> (room: Room, members: [Member])?
    /// Messages after a Seq, oldest first, each with its content before its edits.
    func messages(of room: UUID128, after: Int64, limit: Int) throws(StoreError) -> [ExportedMessage]
    /// Rooms of a type whose oldest message is older than a time, in the order of ids, after the given one.
    func rooms(_ type: RoomType, withMessagesBefore: Int64, after: UUID128, limit: Int) throws(StoreError) -> [UUID128]
    /// Removes a part of a room that was deleted before a time, so that no statement takes long. The room's Signs are
    /// free again afterwards.
    ///
    /// - Returns: false when no such room is left.
    func removeDeletedRoom(before: Int64) throws(StoreError) -> Bool
    /// Removes a part of a room that an import began before it was killed.
    ///
    /// - Returns: false when no such room is left, and while an import runs: that one goes on with its rooms.
    func removeBegunRoom() throws(StoreError) -> Bool
}

public struct ExportedMessage: WireShape, Sendable, Equatable {
    public var message: Message
    public var edits: [EarlierContent]

    public init(message: Message, edits: [EarlierContent]) {
        self.message = message
        self.edits = edits
    }

    public func write<W: WireWriter>(to writer: inout W) {
        message.writeFields(to: &writer) { $0.field("Edits", edits) }
    }
}
