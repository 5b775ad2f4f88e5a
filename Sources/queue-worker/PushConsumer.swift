import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// One push worker: takes the jobs of the rooms' writers, probes the sockets, waits the configured time, and pushes to
/// users without a sign of life. Waiting jobs stay unacknowledged, so a worker that dies loses none.
final class PushConsumer {
    /// Jobs held at once; the rest waits in the queue, which drops its oldest when it is full.
    private static let prefetch = 1000

    private struct Held {
        let tag: UInt64
        let jobs: [PushJob]
        /// Monotonic milliseconds.
        let dueAt: Int64
    }

    private let settings: Settings
    private let channel: WorkerChannel
    private let log: Logger
    private var push: PushOffline!
    private var connection: RabbitMQConnection?
    private var held: [Held] = []
    private var backoff = Backoff()
    private var outage = Outage()
    private var isReady = false
    /// The connection's heartbeats are sent by another thread: nothing may read it.
    private var isAway = false

    init(settings: Settings, channel: WorkerChannel, log: Logger, makePush: (@escaping (Int) -> Bool) -> PushOffline) {
        self.settings = settings
        self.channel = channel
        self.log = log
        push = makePush { [unowned self] in wait($0) }
    }

    /// Runs until the master says quit.
    func serve() {
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
            do {
                let connection = try connected()
                try receive(connection)
                try pushDue(connection)
                try away(connection) { try push.retryDue() }
                Counter.record(push.counts, in: channel.scoreboard)
                if held.isEmpty, connection.shouldMoveBack() {
                    connection.endAbruptly()
                    self.connection = nil
                }
                outage.ended("a server that pushes need", log)
                backoff.reset()
            } catch is PushOffline.Stopped {
                break
            } catch {
                lose(error)
            }
        }
        connection?.endAbruptly()
    }

    private func connected() throws -> RabbitMQConnection {
        if let connection { return connection }
        let opened = try RabbitMQConnection(settings.rabbitMQ, name: "queue-worker push")
        let queue = settings.rabbitMQ.pushQueueName
        _ = try opened.declareQueue(
            queue, quorum: settings.rabbitMQ.quorumQueues, maxLength: settings.push.queueLength)
        try opened.consume(queue, prefetch: Self.prefetch)
        connection = opened
        if !isReady {
            isReady = true
            channel.ready()
        }
        return opened
    }

    /// The broker redelivers the held jobs; the push marks prevent duplicates.
    private func lose(_ error: any Error) {
        connection?.distrust()
        connection = nil
        held = []
        outage.began("a server that pushes need", "\(error)", log)
        _ = wait(backoff.next())
    }

    // MARK: Announcements

    private func receive(_ connection: RabbitMQConnection) throws {
        if !connection.hasBuffered { waitForSome(connection) }
        var rooms: Set<UUID128> = []
        let due = monotonicMilliseconds() + Int64(settings.push.delay) * 1000
        while case .delivery(let delivery) = try connection.next(timeout: 0) {
            let jobs = (try? PushJob.decode(delivery.body)) ?? []
            held.append(Held(tag: delivery.tag, jobs: jobs, dueAt: due))
            for job in jobs {
                switch job {
                case .messages(let room, _, _): rooms.insert(room)
                case .seen(let room, let user, let seq):
                    try away(connection) { try push.clear(room, of: user, through: seq) }
                // A message that was not pushed yet is not affected; held jobs skip it or push it when they are due.
                case .deleted(let room, let message, let seq):
                    try away(connection) { try push.takeBack(message, in: room, at: seq) }
                }
            }
        }
        if !rooms.isEmpty { try push.probe(rooms) }
    }

    private func waitForSome(_ connection: RabbitMQConnection) {
        let untilDue = (held.first?.dueAt ?? .max) - monotonicMilliseconds()
        var descriptors = [
            pollfd(fd: connection.fileDescriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: channel.fileDescriptor, events: Int16(POLLIN), revents: 0),
        ]
        poll(&descriptors, 2, Int32(max(0, min(untilDue, 1000))))
    }

    // MARK: Pushes

    /// All due messages of a room become one push per member.
    private func pushDue(_ connection: RabbitMQConnection) throws {
        let now = monotonicMilliseconds()
        let due = held.prefix { $0.dueAt <= now }
        guard let last = due.last else { return }
        var rooms: [UUID128: (seq: Int64, since: Int64, at: Int64)] = [:]
        for case .messages(let room, let seq, let at) in due.flatMap(\.jobs) {
            let before = rooms[room] ?? (0, at, 0)
            rooms[room] = (max(before.seq, seq), min(before.since, at), max(before.at, at))
        }
        channel.scoreboard.beginRequest("push", "\(rooms.count) rooms")
        for (room, newest) in rooms {
            channel.scoreboard.heartbeat()
            try away(connection) {
                try push.push(room, through: newest.seq, since: newest.since, at: newest.at)
            }
        }
        try connection.acknowledge(last.tag, multiple: true)
        held.removeFirst(due.count)
        channel.scoreboard.endRequest(status: 200, bytes: rooms.count)
    }

    /// Push services may take their time; the broker must not wait too long meanwhile.
    private func away(_ connection: RabbitMQConnection, _ work: () throws -> Void) throws {
        isAway = true
        defer { isAway = false }
        try connection.whileAway(work)
    }

    /// Answers the broker's heartbeats meanwhile. False when the master says quit.
    private func wait(_ milliseconds: Int) -> Bool {
        let end = monotonicMilliseconds() + Int64(milliseconds)
        while true {
            channel.scoreboard.heartbeat()
            let left = end - monotonicMilliseconds()
            guard !channel.mustQuit else { return false }
            guard left > 0 else { return true }
            var descriptor = pollfd(fd: channel.fileDescriptor, events: Int16(POLLIN), revents: 0)
            poll(&descriptor, 1, Int32(min(left, 1000)))
            // The prefetch bounds further deliveries; a broken connection shows after the wait.
            guard !isAway, let connection, case .delivery(let delivery)? = try? connection.next(timeout: 0) else {
                continue
            }
            held.append(
                Held(
                    tag: delivery.tag, jobs: (try? PushJob.decode(delivery.body)) ?? [],
                    dueAt: monotonicMilliseconds() + Int64(settings.push.delay) * 1000))
        }
    }
}
