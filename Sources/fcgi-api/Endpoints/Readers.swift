import ChatCore
import ChatProcess
import Logging

/// The primary and, where there is one, a replica. A replica may be behind, so whoever has just written reads from the
/// primary for a while: nobody misses their own message.
final class Readers {
    /// Milliseconds; a replica that is further behind is broken.
    static let patience: Int64 = 5000
    /// Milliseconds for which a replica that failed is not asked.
    static let pause: Int64 = 10_000
    private static let name = "the read replica (the primary reads in its place)"

    private let primary: any RoomReader
    private let replica: (any RoomReader)?
    private let writes: RecentWrites?
    private let log: Logger
    private var outage = Outage()
    private var lostAt: Int64?

    init(
        primary: any RoomReader, replica: (any RoomReader)? = nil, writes: RecentWrites? = nil,
        log: Logger = Logger(label: "fcgi-api")
    ) {
        self.log = log
        self.primary = primary
        self.replica = replica
        self.writes = writes
    }

    /// A read as this user. A replica that fails is left alone for a while: the primary reads meanwhile.
    func read<T>(
        for user: UUID128, _ body: (any RoomReader) throws(StoreError) -> T
    ) throws(StoreError) -> T {
        let now = monotonicMilliseconds()
        guard let replica, let writes, !writes.hasWritten(user, since: now - Readers.patience),
            lostAt.map({ now - $0 > Readers.pause }) ?? true
        else { return try body(primary) }
        do throws(StoreError) {
            let found = try body(replica)
            lostAt = nil
            outage.ended(Readers.name, log)
            return found
        } catch {
            guard error.isTransient else { throw error }
            outage.began(Readers.name, error.description, log)
            lostAt = monotonicMilliseconds()
            return try body(primary)
        }
    }

    /// Nil: there is none.
    var replicaCheck: (() throws -> Void)? { replica.map { replica in { try replica.check() } } }

    func remember(writeOf user: UUID128) {
        if replica != nil { writes?.record(user, at: monotonicMilliseconds()) }
    }

    /// The primary alone: without a replica reads go on.
    func check() throws(StoreError) { try primary.check() }
}
