import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// Selects the current generation of queues, and replaces it by the next one without ever having two orders in a room:
///
/// 1. the new queues are declared and bound, and PostgreSQL records them as the newest;
/// 2. the old ones are unbound: a sender gets its message back, asks PostgreSQL, and sends to the new queues;
/// 3. an end mark is put behind the last message of each old queue; a worker reaches it when all of these are stored;
/// 4. the new queues are consumed only after every end mark was reached.
///
/// Each step may run twice, in any worker, after any crash. PostgreSQL may be silent for as long as its time limit:
/// heartbeats to the broker continue while it is asked.
final class QueueTurn {
    /// Between two checks; and from unbinding a queue to its end mark: by then, messages that the broker had
    /// routed have arrived.
    private static let lookInterval = Duration.seconds(1)
    private static let settling = Duration.seconds(1)

    private let settings: RabbitMQSettings
    private let queues: RabbitMQQueues
    private let generations: any QueueGenerations
    private let clock: WorkerClock
    private let log: Logger
    /// The settings of the other hosts that work now: what their workers report as theirs.
    private let others: () -> Set<String>
    /// The first worker of its host says what concerns all, and deletes old queues.
    private let isFirst: Bool
    private var known: [QueueGeneration] = []
    private var hasComparedSettings = false
    private var lookAt: Int64 = 0
    /// Told of each question to PostgreSQL.
    var onAnswer: ((StoreError?) -> Void)?
    private var closing: (generation: Int, marksAt: Int64)?
    private var removal: Removal?

    private struct Removal {
        let generation: Int
        /// Queues below this number are deleted.
        var queue = 0
        var moved = 0
        var hasFailed = false
    }

    init(
        _ settings: RabbitMQSettings, _ broker: any Broker, _ generations: any QueueGenerations, clock: WorkerClock,
        log: Logger, isFirst: Bool = true, others: @escaping () -> Set<String> = { [] }
    ) {
        self.others = others
        self.isFirst = isFirst
        self.settings = settings
        queues = RabbitMQQueues(settings, broker)
        self.generations = generations
        self.clock = clock
        self.log = log
    }

    /// Reads the generations, without a connection to the broker. Call it before ``prepare(_:)`` when the last known ones
    /// are not good enough.
    func ask() throws(RabbitMQError) {
        do throws(StoreError) { known = try read() } catch { throw RabbitMQError(error) }
    }

    /// Declares the queues to consume on a new connection. Without PostgreSQL it uses the last known ones.
    func prepare(_ connection: any BrokerConnection) throws(RabbitMQError) -> QueueLayout {
        do throws(StoreError) {
            known = try connection.whileAway { () throws(StoreError) in try generations.all() }
        } catch {
            guard !known.isEmpty else { throw RabbitMQError(error) }
        }
        try makeFirst(connection)
        try followSettings(connection)
        guard let layout else { throw RabbitMQError(ended: "there is no generation of queues") }
        if layout == known.last?.layout { try bindNewest(layout, connection) }
        try queues.declare(layout, on: connection)
        return layout
    }

    /// The generation that is being executed.
    private var layout: QueueLayout? { known.first { !$0.isDrained }?.layout }

    private func makeFirst(_ connection: any BrokerConnection) throws(RabbitMQError) {
        if known.isEmpty { try make(settings.firstLayout, connection) }
    }

    /// Starts the next generation when the settings differ from those of the newest one. While another host works by these,
    /// they are followed: otherwise the hosts would turn the queues back and forth with each start.
    private func followSettings(_ connection: any BrokerConnection) throws(RabbitMQError) {
        defer { hasComparedSettings = true }
        guard !hasComparedSettings, let newest = known.last else { return }
        var next = settings.firstLayout
        next.generation = newest.layout.generation
        if next == newest.layout {
            // `queues resize` was first.
            if newest.setting != settings.layoutSetting {
                connection.whileAway { try? generations.adopt(settings.layoutSetting, for: next.generation) }
            }
            return
        }
        guard newest.setting != settings.layoutSetting,
            !connection.whileAway({ others() }).contains(newest.setting)
        else {
            return sayThatOthersAreFollowed(newest.layout)
        }
        next.generation += 1
        try make(next, connection)
        log.notice("the settings ask for other queues", metadata: ["queues": "\(settings.layoutSetting)"])
    }

    private func sayThatOthersAreFollowed(_ layout: QueueLayout) {
        guard isFirst else { return }
        log.warning(
            "RABBITMQ_TOTAL_QUEUE or RABBITMQ_HASH_KEY differs from the running hosts; their values are used",
            metadata: ["here": "\(settings.layoutSetting)", "in use": "\(layout.setting)"])
    }

    private func make(_ layout: QueueLayout, _ connection: any BrokerConnection) throws(RabbitMQError) {
        try queues.bind(layout, on: connection)
        do throws(StoreError) {
            known = try connection.whileAway { () throws(StoreError) in
                try generations.begin(layout, setting: settings.layoutSetting)
                return try generations.all()
            }
        } catch { throw RabbitMQError(error) }
    }

    /// A broker that lost its data has no bindings. A worker that was suspended between reading and binding may have
    /// bound a closed generation: it is unbound again.
    private func bindNewest(_ layout: QueueLayout, _ connection: any BrokerConnection) throws(RabbitMQError) {
        try queues.bind(layout, on: connection)
        guard let now = connection.whileAway({ try? generations.all() }), now.last?.layout != layout else { return }
        known = now
        try queues.unbind(layout, on: connection)
    }

    /// Call this often. Returns true when other queues must be consumed from now on, on a new connection.
    func look(_ connection: any BrokerConnection) throws(RabbitMQError) -> Bool {
        guard clock.now() >= lookAt else { return false }
        lookAt = clock.now() + Self.lookInterval.milliseconds
        let before = layout
        // Without PostgreSQL nothing changes.
        guard let found = connection.whileAway({ try? read() }), !found.isEmpty else { return false }
        known = found
        connection.whileAway { removeForgotten() }
        try closeOld(connection)
        return layout != before
    }

    private func read() throws(StoreError) -> [QueueGeneration] {
        do throws(StoreError) {
            let found = try generations.all()
            onAnswer?(nil)
            return found
        } catch {
            onAnswer?(error)
            throw error
        }
    }

    private func closeOld(_ connection: any BrokerConnection) throws(RabbitMQError) {
        guard let old = known.first(where: { !$0.isDrained }), old != known.last, !old.isClosed else { return }
        let number = old.layout.generation
        guard let closing, closing.generation == number else {
            try queues.unbind(old.layout, on: connection)
            closing = (number, clock.now() + Self.settling.milliseconds)
            return
        }
        guard clock.now() >= closing.marksAt else { return }
        try connection.whileAway { () throws(RabbitMQError) in
            try queues.markEnd(of: old.layout)
            try? generations.close(number)
        }
        self.closing = nil
    }

    /// One queue of a forgotten generation, on connections of its own. Rooms wait meanwhile: a deletion takes the broker some
    /// 100 ms, on a busy machine a second.
    private func removeForgotten() {
        guard isFirst, let today = known.last?.layout,
            let old = known.first(where: { $0.isForgotten && $0.layout != today })?.layout
        else { return }
        var own = removal.flatMap { $0.generation == old.generation ? $0 : nil } ?? Removal(generation: old.generation)
        defer { removal = own.queue == old.total ? nil : own }
        do throws(RabbitMQError) {
            own.moved += try queues.remove(own.queue, of: old, movingTo: today)
            own.queue += 1
        } catch {
            // For instance, a queue that a late message belongs to is full.
            if !own.hasFailed {
                log.warning("an old queue cannot be removed yet", metadata: ["error": "\(error)"])
            }
            own.hasFailed = true
            return
        }
        own.hasFailed = false
        guard own.queue == old.total else { return }
        try? generations.remove(old.generation)
        log.notice(
            "queues of an earlier generation are removed",
            metadata: ["generation": "\(old.generation)", "moved": "\(own.moved)"])
    }

    /// Everything before the mark is stored. Returns the error when that could not be recorded.
    func end(_ mark: EndMark, _ connection: any BrokerConnection) -> StoreError? {
        do throws(StoreError) {
            try connection.whileAway { () throws(StoreError) in
                try generations.end(queue: mark.queue, of: mark.generation)
            }
            lookAt = 0
            return nil
        } catch { return error }
    }
}
