import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// One push worker: takes the jobs of the rooms' writers, probes the sockets, waits the configured time, and pushes to
/// users without a sign of life. Waiting jobs stay unacknowledged, so a worker that dies loses none.
final class PushConsumer {
    /// Jobs held at once; the rest waits in the queue, which drops its oldest when it is full.
    private static let prefetch = 1000
    /// After this time no further seen mark or deletion begins, so that pushes are not delayed.
    private static let turn = Duration.seconds(1)
    /// Deaths without a crash report after which a job is dropped. Most such deaths are not caused by a job.
    private static let maxSilentDeaths = 10
    /// Jobs in one message, and the time for the broker's confirm of it.
    private static let handedOver = 200
    private static let confirmTimeout = Duration.seconds(5)

    private struct Held {
        let tag: UInt64
        let jobs: [PushJob]
        /// Monotonic milliseconds.
        let dueAt: Int64
        /// Its name among the attempts if it is redelivered: it may have crashed its worker.
        let suspect: String?
        /// The number of jobs that are done before the message is due.
        var told = 0
        var isTold: Bool { suspect != nil || told == jobs.count }
        /// None of its jobs has to wait.
        var isBrief: Bool {
            suspect == nil && !jobs.contains { if case .messages = $0 { true } else { false } }
        }
    }

    private let settings: Settings
    private let channel: any WorkerPlace
    private let broker: any Broker
    private let clock: WorkerClock
    private let log: Logger
    private let attempts: Attempts
    private var push: PushOffline!
    private var connection: (any BrokerConnection)?
    private var held: [Held] = []
    /// Everything up to this delivery is done, and not acknowledged yet.
    private var finished: UInt64?
    private var finishedAlone: [UInt64] = []
    /// The name among the attempts for all redelivered jobs together.
    private var together: String { "push-jobs-\(channel.slot)" }
    private var backoff = Backoff()
    private var outage = Outage()
    private var isReady = false

    init(
        settings: Settings, channel: any WorkerPlace, broker: any Broker, clock: WorkerClock = .real, log: Logger,
        makePush: (@escaping (Int) -> Bool) -> PushOffline
    ) {
        self.settings = settings
        self.channel = channel
        self.broker = broker
        self.clock = clock
        self.log = log
        attempts = Attempts(runDirectory: settings.runDirectory)
        push = makePush { [unowned self] in wait($0) }
    }

    /// Runs until the master says quit.
    func serve() {
        while !channel.mustQuit, serveOnce() {}
        end()
    }

    /// One round: whatever has arrived, and whatever is due. False: it was told to stop in the middle.
    func serveOnce() -> Bool {
        channel.scoreboard.heartbeat()
        do {
            let connection = try connected()
            try receive(connection)
            try connection.whileAway { () throws in
                try tellAtOnce()
                try pushDue()
                try push.retryDue()
            }
            try acknowledge(connection)
            Counter.record(push.counts, in: channel.scoreboard)
            moveBackIfIdle(connection)
            outage.ended("a server that pushes need", log)
            backoff.reset()
        } catch is PushOffline.Stopped {
            return false
        } catch {
            lose(error)
        }
        return true
    }

    /// Unacknowledged jobs are delivered to another worker.
    func end() {
        attempts.takeBack()
        if let connection {
            try? acknowledge(connection)
            connection.endAbruptly()
        }
        connection = nil
        handOver()
    }

    private func moveBackIfIdle(_ connection: any BrokerConnection) {
        guard held.isEmpty, connection.shouldMoveBack() else { return }
        connection.endAbruptly()
        self.connection = nil
    }

    private func connected() throws -> any BrokerConnection {
        if let connection { return connection }
        let opened = try broker.open("queue-worker push")
        let queue = settings.rabbitMQ.pushQueueName
        _ = try opened.declareQueue(
            queue, quorum: settings.rabbitMQ.quorumQueues, maxLength: settings.push.queueLength)
        try opened.consume(queue, prefetch: Self.prefetch, noAcknowledge: false)
        connection = opened
        if !isReady {
            isReady = true
            channel.ready()
        }
        return opened
    }

    /// The broker redelivers the held jobs; the push marks prevent duplicates.
    private func lose(_ error: any Error) {
        attempts.takeBack()
        connection?.distrust()
        connection = nil
        held = []
        finished = nil
        finishedAlone = []
        outage.began("a server that pushes need", "\(error)", log)
        _ = wait(backoff.next())
    }

    // MARK: Announcements

    /// Only receives jobs: nothing here waits for a server that a user chose.
    private func receive(_ connection: any BrokerConnection) throws {
        if !connection.hasBuffered { waitForSome(connection) }
        var (rooms, suspects): (Set<UUID128>, Set<UUID128>) = ([], [])
        while let delivery = try connection.nextDelivery() {
            let new = hold(delivery)
            for case .messages(let room, _, _) in new.jobs {
                if new.suspect == nil { rooms.insert(room) } else { suspects.insert(room) }
            }
        }
        if !rooms.isEmpty { try connection.whileAway { () throws in try push.probe(rooms) } }
        // If they may have crashed a worker, they are not probed: a superfluous push is better than another crash.
        guard !suspects.isEmpty, attempts.deaths(of: together) == .init() else { return }
        attempts.begin(together)
        try connection.whileAway { () throws in try push.probe(suspects) }
        attempts.end()
    }

    private func hold(_ delivery: RabbitMQDelivery) -> Held {
        var jobs: [PushJob] = []
        do throws(WireError) { jobs = try PushJob.decode(delivery.body) } catch {
            drop("it cannot be read: \(error)", bytes: delivery.body.count)
        }
        let delay = jobs.contains { if case .messages = $0 { true } else { false } } ? settings.push.delay : .zero
        let new = Held(
            tag: delivery.tag, jobs: jobs, dueAt: clock.now() + delay.milliseconds,
            suspect: delivery.redelivered ? "push-" + String(fnv1a64(delivery.body), radix: 16) : nil)
        held.append(new)
        return new
    }

    private func drop(_ reason: String, bytes: Int? = nil) {
        log.error(
            "a push job is dropped", metadata: ["reason": "\(reason)", "bytes": "\(bytes.map { "\($0)" } ?? "-")"])
        channel.scoreboard.add(to: Counter.pushJobsDropped)
    }

    private func waitForSome(_ connection: any BrokerConnection) {
        let next = held.contains { !$0.isTold } ? 0 : held.first?.dueAt ?? .max
        let left = max(0, min(next, clock.now() + 1000) - clock.now())
        clock.wait(Int(left), [connection.fileDescriptor, channel.fileDescriptor])
    }

    /// Seen marks and deletions do not wait. A message that was not pushed yet is not affected: its job skips it, or
    /// pushes it when it is due.
    private func tellAtOnce() throws {
        let end = clock.now() + Self.turn.milliseconds
        // A body without messages is done then, and must not be delivered again after a hand-over.
        defer {
            finishedAlone += held.filter { $0.isTold && $0.isBrief }.map(\.tag)
            held.removeAll { $0.isTold && $0.isBrief }
        }
        for index in held.indices where !held[index].isTold {
            while !held[index].isTold {
                guard clock.now() < end else { return }
                try tell(held[index].jobs[held[index].told])
                held[index].told += 1
            }
        }
    }

    private func tell(_ job: PushJob) throws {
        try unlessRefused {
            switch job {
            case .messages: break
            case .seen(let room, let user, let seq): try push.clear(room, of: user, through: seq)
            case .deleted(let room, let message, let seq): try push.takeBack(message, in: room, at: seq)
            case .again: try push.resume(job)
            }
        }
    }

    /// Drops a job that PostgreSQL always refuses: otherwise it would be redelivered for ever.
    private func unlessRefused(_ work: () throws -> Void) throws {
        do { try work() } catch let error as StoreError where !error.isTransient {
            drop("the store refuses it: \(error)")
        }
    }

    // MARK: Pushes

    private func pushDue() throws {
        let now = clock.now()
        let due = Array(held.prefix { $0.dueAt <= now && $0.isTold })
        guard let last = due.last else { return }
        channel.scoreboard.beginRequest("push", "\(due.count) jobs")
        defer { channel.scoreboard.endRequest(status: 200, bytes: due.count) }
        try work(due)
        finished = last.tag
        held.removeFirst(due.count)
    }

    private func acknowledge(_ connection: any BrokerConnection) throws {
        for tag in finishedAlone { try connection.acknowledge(tag, multiple: false) }
        finishedAlone = []
        guard let tag = finished else { return }
        finished = nil
        try connection.acknowledge(tag, multiple: true)
    }

    /// A worker that dies while it handles redelivered jobs leaves a mark: the next one takes each of them alone.
    private func work(_ due: [Held]) throws {
        guard due.contains(where: { $0.suspect != nil }) else { return try workTogether(due) }
        if attempts.deaths(of: together) == .init() {
            attempts.begin(together)
            try workTogether(due)
            return attempts.end()
        }
        try workTogether(due.filter { $0.suspect == nil })
        for one in due { try one.suspect.map { try workAlone(one, $0) } }
        attempts.forget(together)
    }

    private func workAlone(_ one: Held, _ key: String) throws {
        let deaths = attempts.deaths(of: key)
        guard deaths.crashed == 0, deaths.silent < Self.maxSilentDeaths else {
            drop(deaths.crashed > 0 ? "it crashed three workers" : "\(deaths.silent) workers ended while handling it")
            return attempts.forget(key)
        }
        attempts.begin(key)
        try workTogether([one])
        attempts.end()
    }

    /// All messages of a room become one push per member.
    private func workTogether(_ due: [Held]) throws {
        for one in due where one.suspect != nil { for job in one.jobs { try tell(job) } }
        var rooms: [UUID128: (seq: Int64, since: Int64, at: Int64)] = [:]
        for case .messages(let room, let seq, let at) in due.flatMap(\.jobs) {
            let before = rooms[room] ?? (0, at, 0)
            rooms[room] = (max(before.seq, seq), min(before.since, at), max(before.at, at))
        }
        for (room, newest) in rooms {
            try unlessRefused { try push.push(room, through: newest.seq, since: newest.since, at: newest.at) }
        }
    }

    // MARK: Ends

    /// Passes the pushes that wait for another try to other workers.
    private func handOver() {
        var jobs = push.handOver()[...]
        guard !jobs.isEmpty else { return }
        do throws(RabbitMQError) {
            let connection = try broker.open("queue-worker push")
            try connection.selectConfirms()
            while !jobs.isEmpty {
                try connection.publishConfirmed(
                    PushJob.encode(Array(jobs.prefix(Self.handedOver))), to: settings.rabbitMQ.pushQueueName,
                    timeout: Self.confirmTimeout)
                jobs = jobs.dropFirst(Self.handedOver)
            }
        } catch {
            log.warning(
                "pushes that waited for another try are lost",
                metadata: ["pushes": "\(jobs.count)", "error": "\(error)"])
        }
    }

    /// False when the master says quit.
    private func wait(_ milliseconds: Int) -> Bool {
        let end = clock.now() + Int64(milliseconds)
        attempts.pause()
        defer { attempts.resume() }
        while true {
            channel.scoreboard.heartbeat()
            let left = end - clock.now()
            guard !channel.mustQuit else { return false }
            guard left > 0 else { return true }
            clock.wait(Int(min(left, 1000)), [channel.fileDescriptor])
        }
    }
}
