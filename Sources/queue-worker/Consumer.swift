import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// One worker: takes what has arrived on its queues, carries it out as one batch, tells it, answers, acknowledges.
///
/// It never waits for a batch to fill: the next one gathers in the broker and in the prefetch while this one is stored.
/// Acknowledging comes last, so a crash anywhere before repeats the batch; what was stored is then told again only.
final class Consumer {
    /// A standby leaves the queues of others alone for so long, so that each worker becomes active on its own ones.
    private static let standbyDelay: Int64 = 2000

    private let settings: Settings
    let channel: WorkerChannel
    let run: BatchRun
    private let bus: any FrameBus
    private let dead: RabbitMQDeadLetters
    let attempts: Attempts
    private let turn: QueueTurn
    private let log: Logger
    private var connection: RabbitMQConnection?
    private var layout: QueueLayout
    var waiting: [RabbitMQDelivery] = []
    private var standbyAt: Int64 = .max
    private var backoff = Backoff()
    private var isReady = false
    private var outage = Outage()

    init(
        settings: Settings, channel: WorkerChannel, run: BatchRun, bus: any FrameBus,
        generations: any QueueGenerations, log: Logger
    ) {
        self.settings = settings
        self.channel = channel
        self.run = run
        self.bus = bus
        self.dead = RabbitMQDeadLetters(settings.rabbitMQ, name: "queue-worker dead letters")
        self.attempts = Attempts(runDirectory: settings.runDirectory)
        self.turn = QueueTurn(settings.rabbitMQ, generations, log: log)
        self.log = log
        layout = settings.rabbitMQ.firstLayout
    }

    /// Until the master says quit.
    func serve() {
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
            do throws(RabbitMQError) {
                let connection = try connected()
                if try turn.look(connection) {
                    changeOver(connection)
                    continue
                }
                try standBy(connection)
                try receive(connection, waitingAtMost: waiting.isEmpty ? 1000 : 0)
                try work(connection)
                outage.ended("RabbitMQ", log)
            } catch {
                lose(error)
            }
        }
        connection?.endAbruptly()
    }

    // MARK: The broker

    private func connected() throws(RabbitMQError) -> RabbitMQConnection {
        if let connection { return connection }
        let opened = try RabbitMQConnection(url: settings.rabbitMQ.url, name: "queue-worker")
        layout = try turn.prepare(opened)
        if settings.push.isOn {
            _ = try opened.declareQueue(
                settings.rabbitMQ.pushQueueName, quorum: settings.rabbitMQ.quorumQueues,
                maxLength: settings.push.queueLength)
        }
        try consume(opened) { [channel] in $0 % channel.poolSize == channel.slot }
        standbyAt = monotonicMilliseconds() + Self.standbyDelay
        connection = opened
        backoff.reset()
        if !isReady {
            isReady = true
            channel.ready()
        }
        return opened
    }

    private func consume(_ connection: RabbitMQConnection, where belongs: (Int) -> Bool) throws(RabbitMQError) {
        for index in 0..<layout.total where belongs(index) {
            try connection.consume(settings.rabbitMQ.queueName(layout, index), prefetch: settings.worker.prefetch)
        }
    }

    /// The queues of before have been carried out to their end: nothing of them is in hand.
    private func changeOver(_ connection: RabbitMQConnection) {
        connection.endAbruptly()
        self.connection = nil
        waiting = []
        log.notice("other queues are carried out from now on")
    }

    private func standBy(_ connection: RabbitMQConnection) throws(RabbitMQError) {
        guard monotonicMilliseconds() >= standbyAt else { return }
        standbyAt = .max
        try consume(connection) { [channel] in $0 % channel.poolSize != channel.slot }
    }

    /// What was delivered and not acknowledged comes again, to whoever is active then.
    private func lose(_ error: RabbitMQError) {
        attempts.takeBack()
        connection = nil
        waiting = []
        outage.began("RabbitMQ", error.description, log)
        pause(backoff.next())
    }

    /// Takes what has arrived; waits for the first only.
    private func receive(_ connection: RabbitMQConnection, waitingAtMost milliseconds: Int) throws(RabbitMQError) {
        if waiting.isEmpty, milliseconds > 0, !connection.hasBuffered {
            var descriptors = [
                pollfd(fd: connection.fileDescriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: channel.fileDescriptor, events: Int16(POLLIN), revents: 0),
            ]
            poll(&descriptors, 2, Int32(milliseconds))
        }
        while waiting.count < settings.worker.batch {
            switch try connection.next(timeout: 0) {
            case .delivery(let delivery): waiting.append(delivery)
            case .cancelled(let consumer): throw RabbitMQError(ended: consumer)
            case .confirm, .returned: continue
            case .timeout: return
            }
        }
    }

    // MARK: A batch

    private func work(_ connection: RabbitMQConnection) throws(RabbitMQError) {
        guard let first = waiting.first else { return }
        if let mark = EndMark(first.correlation) { return try end(mark, connection) }
        if first.redelivered { return try workCarefully(first, connection) }
        var commands: [Command] = []
        var taken = 0
        while taken < waiting.count, isPlain(waiting[taken]), commands.count < settings.worker.batch {
            commands += try decode(waiting[taken])
            taken += 1
        }
        channel.scoreboard.beginRequest("batch", "\(commands.count) commands")
        try carryOut(commands, connection)
        try finish(taken, connection)
        channel.scoreboard.endRequest(status: 200, bytes: commands.count)
    }

    private func isPlain(_ delivery: RabbitMQDelivery) -> Bool {
        !delivery.redelivered && EndMark(delivery.correlation) == nil
    }

    /// What came before the mark in its queue is stored and told: the batch before has been finished.
    private func end(_ mark: EndMark, _ connection: RabbitMQConnection) throws(RabbitMQError) {
        var backoff = Backoff()
        while let error = turn.end(mark) {
            outage.began("PostgreSQL", error.description, log)
            try wait(backoff.next(), connection)
        }
        try finish(1, connection)
    }

    func carryOut(_ commands: [Command], _ connection: RabbitMQConnection) throws(RabbitMQError) {
        guard !commands.isEmpty else { return }
        try tell(try store(commands, connection), connection)
    }

    func tell(_ stored: [BatchRun.Stored], _ connection: RabbitMQConnection) throws(RabbitMQError) {
        for part in stored { try tell(part.notice, connection) }
        for part in stored { try answer(part.outcomes, connection) }
        if settings.push.isOn { try announce(stored, connection) }
        count(stored)
    }

    func finish(_ taken: Int, _ connection: RabbitMQConnection) throws(RabbitMQError) {
        // Deliveries are taken in the channel's order, so everything up to this tag is done.
        try connection.acknowledge(waiting[taken - 1].tag, multiple: true)
        waiting.removeFirst(taken)
    }

    /// A body that cannot be read is put aside, with its reason, where an operator finds it.
    func decode(_ delivery: RabbitMQDelivery) throws(RabbitMQError) -> [Command] {
        let reply: CommandOrigin =
            delivery.replyTo.isEmpty ? .nobody : .reply(to: delivery.replyTo, correlation: delivery.correlation)
        do throws(WireError) {
            return try Command.decodeAll(delivery.body, reply: reply)
        } catch {
            try putAside(delivery.body, delivery.consumer, reason: "it cannot be read: \(error)")
            return []
        }
    }

    func putAside(
        _ body: [UInt8], _ queue: String, reason: String, stack: String = ""
    ) throws(RabbitMQError) {
        let now = run.clock()
        let letter = DeadLetter(id: .v7(at: now), queue: queue, at: now, reason: reason, stack: stack, body: body)
        try dead.put(letter)
        log.error(
            "a message is put aside", metadata: ["letter": "\(letter.id)", "queue": "\(queue)", "reason": "\(reason)"])
        channel.scoreboard.add(to: Counter.dead)
    }

    /// Tries until it is stored: the order of the room waits for it.
    private func store(
        _ commands: [Command], _ connection: RabbitMQConnection
    ) throws(RabbitMQError) -> [BatchRun.Stored] {
        var backoff = Backoff()
        var isAlone = false
        while true {
            do throws(StoreError) {
                defer { if !isAlone { outage.ended("PostgreSQL", log) } }
                return isAlone ? try run.carryOutOneByOne(commands) : [try run.carryOut(commands)]
            } catch {
                run.store.abandon()
                guard error.isTransient else {
                    log.error(
                        "the store refuses a batch; trying its commands one by one", metadata: ["error": "\(error)"])
                    isAlone = true
                    continue
                }
                outage.began("PostgreSQL", error.description, log)
                try wait(backoff.next(), connection)
            }
        }
    }

    private func tell(_ notice: Notice, _ connection: RabbitMQConnection) throws(RabbitMQError) {
        // A trail alone is worth no wait.
        if notice.isEmpty, notice.trail != nil, !outage.isAway("Redis") { try? bus.publish(notice) }
        var backoff = Backoff()
        while !notice.isEmpty {
            do throws(BusError) {
                try bus.publish(notice)
                return outage.ended("Redis", log)
            } catch {
                outage.began("Redis", error.description, log)
                try wait(backoff.next(), connection)
            }
        }
    }

    private func answer(_ outcomes: [CommandOutcome], _ connection: RabbitMQConnection) throws(RabbitMQError) {
        for outcome in outcomes {
            guard case .reply(let queue, let correlation) = outcome.command.origin else { continue }
            // Nobody may be there any more; then the broker drops it, and a retry gets the answer again.
            try connection.publish(
                outcome.answer.frame(.response, sign: outcome.command.sign), to: queue, mandatory: false,
                persistent: false, correlation: correlation)
        }
    }

    /// Before the acknowledgement, on the same channel: the broker takes both in this order.
    private func announce(_ stored: [BatchRun.Stored], _ connection: RabbitMQConnection) throws(RabbitMQError) {
        let jobs = stored.flatMap(\.pushJobs)
        guard !jobs.isEmpty else { return }
        try connection.publish(
            PushJob.encode(jobs), to: settings.rabbitMQ.pushQueueName, mandatory: false, persistent: true)
    }

    private func count(_ stored: [BatchRun.Stored]) {
        let outcomes = stored.flatMap(\.outcomes)
        channel.scoreboard.add(outcomes.count, to: Counter.commands)
        channel.scoreboard.add(outcomes.count { $0.refusal != nil }, to: Counter.refused)
        channel.scoreboard.add(stored.reduce(0) { $0 + $1.batch.newMessages.count }, to: Counter.messages)
        channel.scoreboard.add(stored.count, to: Counter.batches)
    }

    // MARK: Waiting

    /// Waits while the broker's heartbeats are answered. A quit ends the wait by giving the batch back.
    private func wait(_ milliseconds: Int, _ connection: RabbitMQConnection) throws(RabbitMQError) {
        channel.scoreboard.heartbeat()
        guard !channel.mustQuit else { throw RabbitMQError(ended: "told to quit; the batch goes back to its queue") }
        attempts.pause()
        defer { attempts.resume() }
        pause(milliseconds)
        // Also past the batch's size: a full `waiting` must not silence the heartbeats. The prefetch bounds it.
        if case .delivery(let delivery) = try connection.next(timeout: 0) { waiting.append(delivery) }
    }

    private func pause(_ milliseconds: Int) {
        var descriptor = pollfd(fd: channel.fileDescriptor, events: Int16(POLLIN), revents: 0)
        poll(&descriptor, 1, Int32(milliseconds))
    }
}
