import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// One worker: takes the messages on its queues, executes them as one batch, publishes, answers, acknowledges.
///
/// It never waits for a batch to fill: the next one gathers in the broker and in the prefetch while this one is stored.
/// The acknowledgement comes last, so a crash before it repeats the batch; commands that were stored are then only
/// published again.
final class Consumer {
    /// How long acknowledgements gather: one costs the broker as much as a message. Unacknowledged
    /// messages are redelivered after a crash and recognised by their ids.
    private static let acknowledgeWithin = Duration.milliseconds(20)
    /// Queues that are joined or left between two batches: each takes three round trips to the broker.
    private static let stepsAtOnce = 20
    /// Bytes in progress above which nothing more is taken from the broker.
    private static let maxBytes = 32 << 20

    let settings: Settings
    let channel: any WorkerPlace
    private let broker: any Broker
    let clock: WorkerClock
    let run: ExecuteBatch
    let bus: any FrameBus
    private let dead: RabbitMQDeadLetters
    let strays: StrayAnswers
    let attempts: Attempts
    let turn: QueueTurn
    let places: QueuePlaces
    /// nil: nothing is traced.
    private let trace: CommandTrace?
    let log: Logger
    private var connection: (any BrokerConnection)?
    /// Received from the broker, but not decoded yet.
    var waiting: [RabbitMQDelivery] = []
    private var backlog = Backlog()
    /// Everything up to this delivery is executed, since a monotonic time in milliseconds.
    private var unacknowledged: (tag: UInt64, since: Int64)?
    private var backoff = Backoff()
    var reach = Reach()
    /// Monotonic milliseconds at which Redis is asked unless something was published before.
    var askBusAt: Int64 = .min
    private var isReady = false
    var outage = Outage()

    init(
        settings: Settings, channel: any WorkerPlace, broker: any Broker, run: ExecuteBatch, bus: any FrameBus,
        generations: any QueueGenerations, workers: any QueueWorkers, host: String, clock: WorkerClock = .real,
        trace: CommandTrace? = nil, log: Logger
    ) {
        self.settings = settings
        self.channel = channel
        self.broker = broker
        self.clock = clock
        self.run = run
        self.bus = bus
        self.dead = RabbitMQDeadLetters(settings.rabbitMQ, name: "queue-worker dead letters", broker: broker)
        self.strays = StrayAnswers(broker, clock)
        self.attempts = Attempts(runDirectory: settings.runDirectory)
        self.turn = QueueTurn(
            settings.rabbitMQ, broker, generations, clock: clock, log: log, isFirst: channel.slot == 0
        ) {
            Set(((try? workers.all()) ?? []).filter { $0.seat.host != host }.map(\.setting))
        }
        self.places = QueuePlaces(
            settings.rabbitMQ, workers, host: host, slot: channel.slot, poolSize: channel.poolSize,
            worker: .v7(at: systemClock()), clock: clock)
        self.trace = trace
        self.log = log
        turn.onAnswer = { [unowned self] in heard(from: .postgres, $0) }
    }

    /// Runs until the master says quit.
    func serve() {
        while !channel.mustQuit { serveOnce() }
        end()
    }

    /// One round: whatever has arrived, and at most one batch.
    func serveOnce() {
        channel.scoreboard.heartbeat()
        do throws(RabbitMQError) {
            let connection = try connected()
            guard try !turn.look(connection) else { return changeOver(connection) }
            askBus(connection)
            try letGoIfCutOff(connection)
            try keepPlaces(connection)
            let isIdle = waiting.isEmpty && backlog.isEmpty
            try receive(connection, waitingAtMost: isIdle ? min(acknowledgeIn ?? 1000, places.due) : 0)
            try work(connection)
            if acknowledgeIn == 0 { try acknowledgeFinished(connection) }
            moveBackIfIdle(connection)
            outage.ended("RabbitMQ", log)
        } catch {
            lose(error)
        }
    }

    func end() {
        defer { places.end() }
        guard let connection else { return }
        try? acknowledgeFinished(connection)
        connection.endAbruptly()
    }

    // MARK: The broker

    private func connected() throws(RabbitMQError) -> any BrokerConnection {
        if let connection { return connection }
        if reach.isAside { try askBoth() }
        let opened = try broker.open("queue-worker")
        places.begin(try turn.prepare(opened), opened)
        reach.joined(now: clock.now())
        outage.ended("PostgreSQL", log)
        if settings.push.isOn {
            _ = try opened.declareQueue(
                settings.rabbitMQ.pushQueueName, quorum: settings.rabbitMQ.quorumQueues,
                maxLength: settings.push.queueLength)
        }
        try keepPlaces(opened)
        connection = opened
        backoff.reset()
        if !isReady {
            isReady = true
            channel.ready()
        }
        return opened
    }

    /// Consumes its own queues, later also those of others as a standby, and hands over queues that others shall consume.
    private func keepPlaces(_ connection: any BrokerConnection) throws(RabbitMQError) {
        places.reportIfDue(connection)
        for _ in 0..<Self.stepsAtOnce {
            guard let (step, queue) = places.next() else { break }
            switch step {
            case .enter: try connection.enterLine(queue, prefetch: settings.worker.prefetch)
            case .leave: try leave(queue, connection)
            }
            places.done(step)
        }
        channel.scoreboard.set(Counter.queues, to: places.count)
    }

    /// Between two batches: nothing of the queue is being executed. What is in hand of it goes to the next in line.
    private func leave(_ queue: String, _ connection: any BrokerConnection) throws(RabbitMQError) {
        try acknowledgeFinished(connection)
        try connection.leaveLine(queue)
        waiting.removeAll { $0.consumer == queue }
        note(finished: backlog.drop(queue))
        noteRest()
    }

    /// The queues of the previous generation are finished: nothing of them is in progress.
    private func changeOver(_ connection: any BrokerConnection) {
        connection.endAbruptly()
        forgetConnection()
        log.notice("the queues of the next generation are consumed from now on")
    }

    /// Reconnects to the preferred broker once it is back; other workers take over the queues meanwhile.
    private func moveBackIfIdle(_ connection: any BrokerConnection) {
        guard waiting.isEmpty, backlog.isEmpty, unacknowledged == nil, connection.shouldMoveBack() else { return }
        connection.endAbruptly()
        forgetConnection()
    }

    /// Unacknowledged messages are redelivered to the active consumer of that moment.
    private func lose(_ error: RabbitMQError) {
        attempts.takeBack()
        if error.server == "RabbitMQ" { connection?.distrust() }
        forgetConnection()
        outage.began(error.server, error.description, log)
        pause(backoff.next())
    }

    private func forgetConnection() {
        connection = nil
        waiting = []
        backlog = Backlog()
        unacknowledged = nil
        noteRest()
    }

    /// Receives everything that has arrived, up to the prefetch, so that rooms can take turns. It blocks only for the
    /// first.
    private func receive(_ connection: any BrokerConnection, waitingAtMost milliseconds: Int) throws(RabbitMQError) {
        if milliseconds > 0, !connection.hasBuffered {
            clock.wait(milliseconds, [connection.fileDescriptor, channel.fileDescriptor])
        }
        var bytes = backlog.bytes
        while bytes < Self.maxBytes, let delivery = try connection.nextDelivery() {
            take(delivery)
            bytes += delivery.body.count
        }
    }

    private func take(_ delivery: RabbitMQDelivery) {
        waiting.append(delivery)
        places.received(from: delivery.consumer)
    }

    // MARK: A batch

    /// Redelivered messages and end marks are handled only after everything that arrived before them.
    private func work(_ connection: any BrokerConnection) throws(RabbitMQError) {
        try admit(connection)
        guard backlog.isEmpty else { return try workInTurns(connection) }
        guard let first = waiting.first else { return }
        if let mark = EndMark(first.correlation) { return try end(mark, connection) }
        try workCarefully(first, connection)
    }

    private func admit(_ connection: any BrokerConnection) throws(RabbitMQError) {
        let plain = waiting.prefix(while: isPlain)
        for delivery in plain {
            backlog.append(
                try decode(delivery, connection), tag: delivery.tag, bytes: delivery.body.count,
                queue: delivery.consumer)
        }
        waiting.removeFirst(plain.count)
    }

    private func workInTurns(_ connection: any BrokerConnection) throws(RabbitMQError) {
        let commands = backlog.next(atMost: settings.worker.batch)
        let begun = monotonicNow()
        channel.scoreboard.beginRequest("batch", "\(commands.count) commands", at: begun)
        note(waitOf: commands)
        try execute(commands, connection)
        note(finished: backlog.finish())
        let ended = monotonicNow()
        channel.scoreboard.endRequest(status: 200, bytes: commands.count, at: ended)
        channel.scoreboard.histogram(Timing.batch).observe(ended - begun)
        noteRest()
    }

    /// Deliveries are taken in the order of their tags, so everything up to this one is done.
    private func note(finished tag: UInt64?) {
        if let tag { unacknowledged = (tag, unacknowledged?.since ?? clock.now()) }
    }

    /// Since when each command of a batch waits. The clocks of the machines that accepted them may differ from ours.
    private func note(waitOf commands: [Command]) {
        let now = run.clock()
        let waits = channel.scoreboard.histogram(Timing.queueWait)
        for command in commands { waits.observe((now - min(now, max(0, command.acceptedAt))) &* 1_000_000) }
        channel.scoreboard.set(Counter.oldest, to: Int(commands.map(\.acceptedAt).min() ?? 0))
        channel.scoreboard.set(Counter.backlog, to: commands.count + backlog.waiting)
    }

    /// Commands that are left keep the age of the batch before; the next batch knows better.
    private func noteRest() {
        channel.scoreboard.set(Counter.backlog, to: backlog.waiting)
        if backlog.waiting == 0 { channel.scoreboard.set(Counter.oldest, to: 0) }
    }

    /// Milliseconds until finished messages must be acknowledged; nil when there are none.
    private var acknowledgeIn: Int? {
        unacknowledged.map { max(0, Int($0.since + Self.acknowledgeWithin.milliseconds - clock.now())) }
    }

    func acknowledgeFinished(_ connection: any BrokerConnection) throws(RabbitMQError) {
        if let tag = unacknowledged?.tag { try acknowledge(through: tag, connection) }
    }

    /// Includes all pending acknowledgements, which have smaller tags.
    private func acknowledge(through tag: UInt64, _ connection: any BrokerConnection) throws(RabbitMQError) {
        unacknowledged = nil
        try connection.acknowledge(tag, multiple: true)
    }

    private func isPlain(_ delivery: RabbitMQDelivery) -> Bool {
        !delivery.redelivered && EndMark(delivery.correlation) == nil
    }

    /// Everything before the mark in its queue is stored and published, because the last batch is finished.
    private func end(_ mark: EndMark, _ connection: any BrokerConnection) throws(RabbitMQError) {
        var backoff = Backoff()
        while let error = turn.end(mark, connection) {
            heard(from: .postgres, error)
            outage.began("PostgreSQL", error.description, log)
            try letGoIfCutOff(connection)
            try wait(backoff.next(), connection)
        }
        try finishFirst(connection)
    }

    func execute(_ commands: [Command], _ connection: any BrokerConnection) throws(RabbitMQError) {
        guard !commands.isEmpty else { return }
        let begun = monotonicNow()
        let stored = try store(commands, connection)
        let storedAt = monotonicNow()
        try tell(stored, connection)
        trace?.record(stored, .init(begun: begun, stored: storedAt, told: monotonicNow()))
    }

    func finishFirst(_ connection: any BrokerConnection) throws(RabbitMQError) {
        try acknowledge(through: waiting.removeFirst().tag, connection)
    }

    /// Moves an unreadable body to the dead letter queue, with the reason, for the operator.
    func decode(
        _ delivery: RabbitMQDelivery, _ connection: any BrokerConnection
    ) throws(RabbitMQError) -> [Command] {
        let reply: CommandOrigin =
            delivery.replyTo.isEmpty ? .nobody : .reply(to: delivery.replyTo, correlation: delivery.correlation)
        do throws(WireError) {
            return try Command.decodeAll(delivery.body, reply: reply)
        } catch {
            try putAside(delivery.body, delivery.consumer, reason: "it cannot be read: \(error)", connection)
            return []
        }
    }

    func putAside(
        _ body: [UInt8], _ queue: String, reason: String, stack: String = "", _ connection: any BrokerConnection
    ) throws(RabbitMQError) {
        let now = run.clock()
        let letter = DeadLetter(id: .v7(at: now), queue: queue, at: now, reason: reason, stack: stack, body: body)
        // On a connection of its own.
        try connection.whileAway { () throws(RabbitMQError) in try dead.put(letter) }
        log.error(
            "a message was moved to the dead letter queue",
            metadata: ["letter": "\(letter.id)", "queue": "\(queue)", "reason": "\(reason)"])
        channel.scoreboard.add(to: Counter.dead)
    }

    /// Retries until the batch is stored: the room's later commands must wait for it.
    private func store(
        _ commands: [Command], _ connection: any BrokerConnection
    ) throws(RabbitMQError) -> [ExecutedBatch] {
        var backoff = Backoff()
        var isAlone = false
        while true {
            do throws(StoreError) {
                let begun = monotonicNow()
                let stored = try connection.whileAway { () throws(StoreError) in
                    isAlone ? try run.oneByOne(commands) : [try run.together(commands)]
                }
                reach.answered(.postgres)
                if !isAlone { outage.ended("PostgreSQL", log) }
                channel.scoreboard.histogram(Timing.commit).observe(monotonicNow() - begun)
                return stored
            } catch {
                run.store.abandon()
                guard error.isTransient else {
                    if !isAlone { outage.ended("PostgreSQL", log) }
                    log.error(
                        "the store refuses a batch; trying its commands one by one", metadata: ["error": "\(error)"])
                    isAlone = true
                    continue
                }
                heard(from: .postgres, error)
                outage.began("PostgreSQL", error.description, log)
                askBus(connection)
                try letGoIfCutOff(connection)
                try wait(backoff.next(), connection)
            }
        }
    }

    // MARK: Waiting

    /// Waits while it answers the broker's heartbeats. A quit ends the wait and returns the batch to the broker.
    func wait(_ milliseconds: Int, _ connection: any BrokerConnection) throws(RabbitMQError) {
        channel.scoreboard.heartbeat()
        let milliseconds = min(milliseconds, untilLetGo)
        guard !channel.mustQuit else { throw RabbitMQError(ended: "told to quit; the batch goes back to its queue") }
        attempts.pause()
        defer { attempts.resume() }
        pause(milliseconds)
        if !outage.isAway("PostgreSQL") { places.reportIfDue(connection) }
        // Receive beyond the batch's size too: a full `waiting` must not stop the heartbeats. The prefetch bounds it. All of
        // it: behind the last delivery may stand that the broker has given the batch to another worker.
        while let delivery = try connection.nextDelivery() { take(delivery) }
    }

    private func pause(_ milliseconds: Int) { clock.wait(milliseconds, [channel.fileDescriptor]) }
}
