import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// Which generation of queues is carried out now, and how one gives way to the next without two orders of a room:
///
/// 1. the new queues are made and taken into the exchange, and PostgreSQL names them the newest;
/// 2. the old ones are taken out of it: who still sends there gets the message back, asks PostgreSQL, sends it to the new;
/// 3. an end mark goes behind what is in each old queue, and is met when all of that is stored;
/// 4. when every end mark was met, and not before, the new queues are consumed.
///
/// Every step may be done twice, by any worker, after any crash.
final class QueueTurn {
    /// Milliseconds between looks; and from taking a queue out to its end mark: what the broker had routed by then has
    /// arrived.
    private static let lookInterval: Int64 = 1000
    private static let settling: Int64 = 1000

    private let settings: RabbitMQSettings
    private let queues: RabbitMQQueues
    private let generations: any QueueGenerations
    private let log: Logger
    private var known: [QueueGeneration] = []
    private var hasComparedSettings = false
    private var lookAt: Int64 = 0
    private var closing: (generation: Int, marksAt: Int64)?

    init(_ settings: RabbitMQSettings, _ generations: any QueueGenerations, log: Logger) {
        self.settings = settings
        queues = RabbitMQQueues(settings)
        self.generations = generations
        self.log = log
    }

    /// On a new connection: the queues to consume, declared. Without PostgreSQL those that were known before.
    func prepare(_ connection: RabbitMQConnection) throws(RabbitMQError) -> QueueLayout {
        do throws(StoreError) {
            known = try generations.all()
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

    /// The one that is carried out.
    private var layout: QueueLayout? { known.first { !$0.isDrained }?.layout }

    private func makeFirst(_ connection: RabbitMQConnection) throws(RabbitMQError) {
        if known.isEmpty { try make(settings.firstLayout, connection) }
    }

    /// A start with other settings than those that the newest generation was made by makes the next one.
    private func followSettings(_ connection: RabbitMQConnection) throws(RabbitMQError) {
        defer { hasComparedSettings = true }
        guard !hasComparedSettings, let newest = known.last, newest.setting != settings.layoutSetting else { return }
        var next = settings.firstLayout
        next.generation = newest.layout.generation + 1
        try make(next, connection)
        log.notice("the settings ask for other queues", metadata: ["queues": "\(settings.layoutSetting)"])
    }

    private func make(_ layout: QueueLayout, _ connection: RabbitMQConnection) throws(RabbitMQError) {
        try queues.bind(layout, on: connection)
        do throws(StoreError) {
            try generations.begin(layout, setting: settings.layoutSetting)
            known = try generations.all()
        } catch { throw RabbitMQError(error) }
    }

    /// A broker that lost everything has no binding any more. Who slept between reading and binding may have bound what
    /// was closed meanwhile: it is taken out again.
    private func bindNewest(_ layout: QueueLayout, _ connection: RabbitMQConnection) throws(RabbitMQError) {
        try queues.bind(layout, on: connection)
        guard let now = try? generations.all(), now.last?.layout != layout else { return }
        known = now
        try queues.unbind(layout, on: connection)
    }

    /// Call it often. True when other queues are to be consumed from now on, on a new connection.
    func look(_ connection: RabbitMQConnection) throws(RabbitMQError) -> Bool {
        guard monotonicMilliseconds() >= lookAt else { return false }
        lookAt = monotonicMilliseconds() + Self.lookInterval
        let before = layout
        // Without PostgreSQL everything stays as it is.
        guard let found = try? generations.all(), !found.isEmpty else { return false }
        known = found
        try removeForgotten()
        try closeOld(connection)
        return layout != before
    }

    private func closeOld(_ connection: RabbitMQConnection) throws(RabbitMQError) {
        guard let old = known.first(where: { !$0.isDrained }), old != known.last, !old.isClosed else { return }
        let number = old.layout.generation
        guard let closing, closing.generation == number else {
            try queues.unbind(old.layout, on: connection)
            closing = (number, monotonicMilliseconds() + Self.settling)
            return
        }
        guard monotonicMilliseconds() >= closing.marksAt else { return }
        try queues.markEnd(of: old.layout)
        try? generations.close(number)
        self.closing = nil
    }

    private func removeForgotten() throws(RabbitMQError) {
        guard let today = known.last?.layout else { return }
        for old in known where old.isForgotten && old.layout != today {
            let moved = try queues.remove(old.layout, movingTo: today)
            try? generations.remove(old.layout.generation)
            log.notice(
                "queues of an earlier generation are removed",
                metadata: ["generation": "\(old.layout.generation)", "moved": "\(moved)"])
        }
    }

    /// Everything before the mark is stored. The result is why that could not be noted.
    func end(_ mark: EndMark) -> StoreError? {
        do throws(StoreError) {
            try generations.end(queue: mark.queue, of: mark.generation)
            lookAt = 0
            return nil
        } catch { return error }
    }
}
