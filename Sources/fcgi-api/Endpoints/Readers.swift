import ChatCore

/// The primary and, where there is one, a replica. A replica may be behind, so whoever has just written reads from the
/// primary for a while: nobody misses their own message.
final class Readers {
    /// Milliseconds; a replica that is further behind is broken.
    static let patience: Int64 = 5000

    private let primary: any RoomReader
    private let replica: (any RoomReader)?
    private let writes: RecentWrites?

    init(primary: any RoomReader, replica: (any RoomReader)? = nil, writes: RecentWrites? = nil) {
        self.primary = primary
        self.replica = replica
        self.writes = writes
    }

    func reader(for user: UUID128) -> any RoomReader {
        guard let replica, let writes else { return primary }
        return writes.hasWritten(user, since: monotonicMilliseconds() - Readers.patience) ? primary : replica
    }

    func remember(writeOf user: UUID128) {
        if replica != nil { writes?.record(user, at: monotonicMilliseconds()) }
    }

    /// The primary alone: without a replica reads go on.
    func check() throws(StoreError) { try primary.check() }
}
