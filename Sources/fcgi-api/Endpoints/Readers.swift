import ChatCore
import ChatProcess
import Logging

/// The primary and an optional replica, which may lag: a read goes to the primary when it needs data that the replica
/// does not have yet. Users always see what they wrote and what they were told of, over any path and on any host.
final class Readers {
    /// A replica, with the means to find out whether it has enough data.
    struct Replica {
        let reader: any RoomReader
        let position: any LogPosition
        let primaryPosition: any LogPosition
        let marks: any WriteMarks
        /// Milliseconds; a replica that is further behind is not used.
        let maxLag: Int64
    }

    enum Choice { case replica, primary }

    /// The interval of checks while there are no reads.
    private static let idleInterval = Duration.seconds(4)
    private static let name = "the read replica (the primary reads in its place)"

    private let primary: any RoomReader
    private let replica: Replica?
    private let now: () -> Int64
    private let log: Logger
    private var outage = Outage()
    private var state: ReplicaState
    /// Called at each read that could use the replica, with the choice and the replica's lag in milliseconds; nil:
    /// unknown.
    var onRead: (Choice) -> Void = { _ in }
    var onLag: (Int64?) -> Void = { _ in }

    /// - Parameter now: monotonic milliseconds.
    init(
        primary: any RoomReader, replica: Replica? = nil, now: @escaping () -> Int64 = monotonicMilliseconds,
        log: Logger = Logger(label: "fcgi-api")
    ) {
        self.primary = primary
        self.replica = replica
        self.now = now
        self.log = log
        state = ReplicaState(maxLag: replica?.maxLag ?? 0)
    }

    /// Reads as this user, and in this room if one is given.
    func read<T>(
        for user: UUID128, in room: UUID128? = nil, _ body: (any RoomReader) throws(StoreError) -> T
    ) throws(StoreError) -> T {
        guard let replica else { return try body(primary) }
        if mayUse(replica, for: user, in: room), let found = try tried(replica, body) {
            onRead(.replica)
            return found
        }
        onRead(.primary)
        return try body(primary)
    }

    /// Never reads from the replica, for data that it may not have yet.
    func readNewest<T>(_ body: (any RoomReader) throws(StoreError) -> T) throws(StoreError) -> T { try body(primary) }

    /// Nil when the read failed or found nothing, or when another server answered than the one whose position is known.
    private func tried<T>(
        _ replica: Replica, _ body: (any RoomReader) throws(StoreError) -> T
    ) throws(StoreError) -> T? {
        let session = replica.position.session
        do throws(StoreError) {
            let found = try body(replica.reader)
            // A missing row may exist on the primary: the user may have been told of it.
            guard replica.position.session == session, (found as? any Missing)?.isMissing != true else { return nil }
            return found
        } catch {
            guard error.isTransient else { throw error }
            lose(error)
            return nil
        }
    }

    private func lose(_ error: StoreError) {
        outage.began(Readers.name, error.description, log)
        state.failed(at: now())
        onLag(nil)
    }

    private func mayUse(_ replica: Replica, for user: UUID128, in room: UUID128?) -> Bool {
        if state.mustLook(now()) { look(replica) }
        guard state.isUsable(at: now()), let needed = needed(replica, user, room) else { return false }
        if state.has(needed, session: replica.position.session) { return true }
        // The replica may have replayed more since.
        do throws(StoreError) {
            let position = try replica.position.position()
            state.found(position, session: replica.position.session)
        } catch {
            lose(error)
            return false
        }
        return state.has(needed, session: replica.position.session)
    }

    /// Call it about once a second: otherwise a worker without requests would show an old lag.
    func keepCurrent() {
        if let replica, state.mustLook(now() - Self.idleInterval.milliseconds) { look(replica) }
    }

    private func look(_ replica: Replica) {
        // Without the primary the lag is unknown, which is not a fault of the replica.
        let asked = now()
        guard let primary = try? replica.primaryPosition.position() else { return }
        do throws(StoreError) {
            let position = try replica.position.position()
            state.looked(primary: primary, replica: position, session: replica.position.session, at: asked)
            outage.ended(Readers.name, log)
        } catch { return lose(error) }
        onLag(state.isUsable(at: now()) ? state.lag(at: now()) : nil)
    }

    /// Nil: unknown, for example without Redis.
    private func needed(_ replica: Replica, _ user: UUID128, _ room: UUID128?) -> Int64? {
        do throws(BusError) {
            if let position = try replica.marks.position(of: user, in: room) { return position }
        } catch { return nil }
        // Marks may have been lost: the replica needs everything up to now.
        guard let position = try? replica.primaryPosition.position() else { return nil }
        try? replica.marks.begin(at: position)
        return position
    }

    /// Call after a write of this user and before it is answered.
    func remember(writeOf user: UUID128) throws(StoreError) {
        guard let replica else { return }
        let position = try replica.primaryPosition.position()
        do throws(BusError) { try replica.marks.record(Written(position: position, users: [user])) } catch {
            // Without Redis all reads go to the primary, here and elsewhere; once it is back, marks may be missing.
            log.warning("a write could not be marked for the replicas' readers", metadata: ["error": "\(error)"])
        }
    }

    /// Nil without a replica.
    var replicaCheck: (() throws -> String?)? {
        replica.map { replica in
            {
                try replica.reader.check()
                guard let lag = self.lagNow(replica) else { throw NotReady(reason: self.unused(replica)) }
                return lag < 2 * ReplicaState.interval.milliseconds ? nil : "\(lag / 1000) s behind at most"
            }
        }
    }

    private func unused(_ replica: Replica) -> String {
        do throws(StoreError) { _ = try replica.position.position() } catch {
            if areSameBytes(error.description, StoreError.noStandby.description) { return "no standby" }
        }
        return "too far behind"
    }

    private func lagNow(_ replica: Replica) -> Int64? {
        if state.mustLook(now()) { look(replica) }
        return state.isUsable(at: now()) ? state.lag(at: now()) : nil
    }

    /// Checks only the primary: reads work without a replica.
    func check() throws(StoreError) { try primary.check() }
}

extension Readers {
    func count(in row: ScoreboardRow) {
        onRead = { row.add(to: ($0 == .replica ? ApiCounter.replicaReads : .primaryReads).rawValue) }
        onLag = { row.set(ApiCounter.replicaLag.rawValue, to: ReplicaLag.stored($0)) }
    }
}

/// A result that may be "not found".
private protocol Missing { var isMissing: Bool { get } }

extension Optional: Missing {
    fileprivate var isMissing: Bool { if case .none = self { true } else { false } }
}
