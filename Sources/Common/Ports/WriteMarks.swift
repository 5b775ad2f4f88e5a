/// The position that a replica must have replayed, so that a user sees everything that they wrote or were told of, over
/// any path and host.
///
/// A position is one of PostgreSQL's write-ahead log, in bytes from its beginning. Only larger ones replace a mark, so
/// the order in which writers record does not matter.
public protocol WriteMarks: AnyObject {
    /// Records that everything written by these users, or in these rooms, is before this position.
    func record(_ written: Written) throws(BusError)
    /// The position that includes everything written by this user, and everything written in this room.
    ///
    /// - Returns: nil when marks may have been lost: then call ``begin(at:)`` with the current position.
    func position(of user: UUID128, in room: UUID128?) throws(BusError) -> Int64?
    /// Records that everything without a mark was written before this position.
    func begin(at position: Int64) throws(BusError)
}

public struct Written: Sendable, Equatable {
    public var position: Int64
    public var users: Set<UUID128>
    public var rooms: Set<UUID128>

    public init(position: Int64, users: Set<UUID128>, rooms: Set<UUID128> = []) {
        self.position = position
        self.users = users
        self.rooms = rooms
    }
}

extension StoreError {
    /// The replica's address leads to a server that is no standby.
    public static let noStandby = StoreError(
        "it is no standby: DATABASE_READ_URL leads to a primary", isTransient: true)
}

/// The position of a database server in the write-ahead log: what it has written, or, on a standby, what it has
/// replayed.
public protocol LogPosition: AnyObject {
    func position() throws(StoreError) -> Int64
    /// Changes with each new connection, which may lead to another server.
    var session: Int { get }
}
