import ChatCore
import ChatProcess
import Logging

/// The primary and an optional replica. A replica may lag, so a user who has just written reads from the primary for a
/// while and always sees their own message.
final class Readers {
    /// Milliseconds; a replica that lags more counts as broken.
    static let replicaDelay: Int64 = 5000
    /// Milliseconds for which a failed replica is not used.
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

    /// Reads as this user. After a replica failed, the primary serves its reads for a while.
    func read<T>(
        for user: UUID128, _ body: (any RoomReader) throws(StoreError) -> T
    ) throws(StoreError) -> T {
        let now = monotonicMilliseconds()
        guard let replica, let writes, !writes.hasWritten(user, since: now - Readers.replicaDelay),
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

    /// Nil without a replica.
    var replicaCheck: (() throws -> Void)? { replica.map { replica in { try replica.check() } } }

    func remember(writeOf user: UUID128) {
        if replica != nil { writes?.record(user, at: monotonicMilliseconds()) }
    }

    /// Checks only the primary: reads work without a replica.
    func check() throws(StoreError) { try primary.check() }
}
