import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging
import Synchronization

/// Publishes commands to RabbitMQ on a thread of its own, because the library blocks.
///
/// The commands of one tick and one queue are sent in one AMQP message, in order, up to a bound in number and bytes:
/// brokers and workers treat a message as a whole, and what others write waits meanwhile. Commands that arrive while the
/// queue's last message is unconfirmed are joined too: a busy broker gets fewer and larger messages, not more. A
/// message is kept until the broker has confirmed it, and is sent again, in order, on a new connection: commands have
/// ids, so a repeat has no effect. When the broker refuses a message, or does not confirm it within ten seconds, its
/// senders are told.
final class CommandPublisher: CommandOutlet {
    struct Batch: Sendable {
        let layout: QueueLayout
        let queue: Int
        var parcel: Parcel
        /// Monotonic milliseconds after which it is given up, counted from its first command.
        let deadline: Int64
        /// The number of times that a broker has refused it.
        var refusals = 0

        /// The same commands for the queues of another generation, in order within each queue.
        func sorted(by layout: QueueLayout) -> [Batch] {
            // We wrote these bodies, so they are readable.
            let commands = (try? Command.decodeAll(Command.joined(parcel.bodies))) ?? []
            var byQueue: [Int: Parcel] = [:]
            for (command, sender) in zip(commands, parcel.senders) {
                byQueue[layout.index(command), default: Parcel()].append(command.encode(), of: sender)
            }
            return byQueue.sorted { $0.key < $1.key }.map { queue, parcel in
                Batch(layout: layout, queue: queue, parcel: parcel, deadline: deadline)
            }
        }
    }

    /// Commands that travel together, with their senders.
    struct Parcel: Sendable {
        private(set) var bodies: [[UInt8]] = []
        private(set) var senders: [UnsentCommand] = []
        private(set) var bytes = 0

        var isFull: Bool { bodies.count >= CommandPublisher.joined || bytes >= CommandPublisher.joinedBytes }

        func fits(_ other: Parcel) -> Bool {
            bodies.count + other.bodies.count <= CommandPublisher.joined
                && bytes + other.bytes <= CommandPublisher.joinedBytes
        }

        mutating func append(_ body: [UInt8], of sender: UnsentCommand) {
            bodies.append(body)
            senders.append(sender)
            bytes += body.count
        }

        mutating func append(_ other: Parcel) {
            bodies += other.bodies
            senders += other.senders
            bytes += other.bytes
        }
    }

    /// Waiting batches; above this senders get `busy`.
    private static let waiting = 4096
    /// Their bytes, once in the inbox and once with the thread.
    private static let waitingBytes = 64 << 20
    /// Commands per AMQP message: as many as queue-worker takes at once.
    private static let joined = 256
    /// Bytes of an AMQP message after which no further command joins it.
    private static let joinedBytes = 256 << 10
    /// `timeout`: from a command's arrival until it is given up. `blip`: how long a broker may be unreachable unnoticed;
    /// after that senders are told at once.
    static let timeout: Duration = .seconds(10)
    static let blip: Duration = .seconds(1)
    /// Without a confirm before another broker is tried; between two connections closed for that reason. Then the number
    /// of tries of a batch, and how long a queue counts as full after that.
    static let confirmTimeout: Duration = .seconds(3)
    static let reopening: Duration = .seconds(1)
    static let tries = 4
    static let fullness: Duration = .seconds(5)

    /// The layout that the thread uses; the loop sorts commands by it.
    private let layout: SharedLayout
    private let answers: BoundedInbox<Found>
    private let inbox: BoundedInbox<Batch>
    /// AMQP messages that the thread has taken and not finished.
    private let outstanding: Outstanding
    private lazy var tickLayout = layout.value
    private var tick: [Int: Parcel] = [:]

    /// - Parameter newestLayout: called on the thread for each new connection; nil when the layout is unknown.
    init(
        _ settings: RabbitMQSettings, name: String, answers: BoundedInbox<Found>, confirms: Histogram,
        newestLayout: @escaping @Sendable () -> QueueLayout?, log: Logger
    ) {
        self.answers = answers
        let layout = SharedLayout(settings.firstLayout)
        self.layout = layout
        let arrival = EventCounter()
        inbox = BoundedInbox(
            limit: Self.waiting, weightLimit: Self.waitingBytes, onArrival: { arrival.wake() })
        let inbox = inbox
        let outstanding = Outstanding()
        self.outstanding = outstanding
        _ = startThread("commands") {
            Sending(
                settings, RabbitMQBroker(settings), name: name, layout: layout, newestLayout: newestLayout,
                answers: answers,
                confirms: confirms, inbox: inbox,
                outstanding: outstanding, arrival: arrival, log: log
            ).run()
        }
    }

    deinit { inbox.close() }

    func put(_ command: Command, encoded: [UInt8], from socket: UInt64) -> Bool {
        let now = layout.value
        if now != tickLayout {
            endTick()
            tickLayout = now
        }
        let queue = now.index(command)
        tick[queue, default: Parcel()].append(
            encoded, of: UnsentCommand(socket: socket, sign: command.sign))
        if tick[queue]!.isFull { hand(over: queue) }
        return true
    }

    func endTick() {
        for queue in tick.keys { hand(over: queue) }
    }

    /// Every command was confirmed or refused.
    var isIdle: Bool { tick.isEmpty && inbox.isEmpty && outstanding.count.load(ordering: .acquiring) == 0 }

    /// Waits a millisecond, so that the thread makes progress.
    func waitABit() { usleep(1000) }

    private func hand(over queue: Int) {
        guard let parcel = tick.removeValue(forKey: queue) else { return }
        let batch = Batch(
            layout: tickLayout, queue: queue, parcel: parcel,
            deadline: monotonicMilliseconds() + Self.timeout.milliseconds)
        if !inbox.put(batch, weight: parcel.bytes) {
            _ = answers.put(.refused(parcel.senders, .busy("too many commands wait")))
        }
    }

    final class Outstanding: Sendable {
        let count = Atomic(0)
    }

    final class SharedLayout: Sendable {
        private let packed: Atomic<UInt64>

        init(_ layout: QueueLayout) { packed = Atomic(layout.packed) }

        var value: QueueLayout { QueueLayout(packed: packed.load(ordering: .relaxed)) }
        func become(_ layout: QueueLayout) { packed.store(layout.packed, ordering: .relaxed) }
    }

    /// The thread's own state.
    final class Sending {
        let settings: RabbitMQSettings
        let broker: any Broker
        let clock: () -> Nanoseconds
        let name: String
        let layout: SharedLayout
        let newestLayout: @Sendable () -> QueueLayout?
        let answers: BoundedInbox<Found>
        let confirms: Histogram
        let inbox: BoundedInbox<Batch>
        let outstanding: Outstanding
        let arrival: EventCounter
        let log: Logger
        var connection: (any BrokerConnection)?
        /// By queue of the newest layout, in order within each.
        var unsent: [Int: [Batch]] = [:]
        /// At most one per queue.
        var unconfirmed: [(tag: UInt64, batch: Batch, sentAt: Nanoseconds)] = []
        /// A broker has refused, or is silent: its queue may be full, or its leader dead without this broker knowing
        /// yet.
        var isDoubtful = false
        var doubtedAt: Int64 = .min
        /// The time since which each queue has been full.
        var fullSince: [Int: Int64] = [:]
        var nextAttempt: Int64 = 0
        /// The time since which the broker has been unreachable.
        var lostAt: Int64?
        var outage = Outage()

        init(
            _ settings: RabbitMQSettings, _ broker: any Broker, name: String, layout: SharedLayout,
            newestLayout: @escaping @Sendable () -> QueueLayout?, answers: BoundedInbox<Found>, confirms: Histogram,
            inbox: BoundedInbox<Batch>, outstanding: Outstanding, arrival: EventCounter,
            clock: @escaping () -> Nanoseconds = monotonicNow, log: Logger
        ) {
            self.settings = settings
            self.broker = broker
            self.clock = clock
            self.name = name
            self.layout = layout
            self.newestLayout = newestLayout
            self.answers = answers
            self.confirms = confirms
            self.inbox = inbox
            self.outstanding = outstanding
            self.arrival = arrival
            self.log = log
        }

        /// Monotonic milliseconds.
        private var now: Int64 { clock() / 1_000_000 }

        func run() {
            while sendSome() { wait() }
        }

        /// One round. False when it is closed and nothing is left.
        func sendSome() -> Bool {
            arrival.clear()
            // Counted before it is taken, so that it is counted at every moment.
            outstanding.count.store(1, ordering: .releasing)
            // Excess batches stay in the inbox, which then refuses new ones.
            let waiting = unsent.values.joined()
            if waiting.count < CommandPublisher.waiting,
                waiting.reduce(0, { $0 + $1.parcel.bytes }) < CommandPublisher.waitingBytes
            {
                for batch in inbox.drain() { gather(batch) }
            }
            giveUpLate()
            do throws(RabbitMQError) {
                try connectIfDue()
                try readConfirms()
                leaveIfDoubtful()
                try send()
            } catch {
                lose("\(error)")
            }
            // Counts queues: it only matters whether any has a batch.
            outstanding.count.store(unsent.count + unconfirmed.count, ordering: .releasing)
            return !inbox.isFinished || !unsent.isEmpty || !unconfirmed.isEmpty
        }

        private func gather(_ batch: Batch) {
            let now = layout.value
            for part in batch.layout == now ? [batch] : batch.sorted(by: now) { append(part) }
        }

        private func append(_ batch: Batch) {
            var batches = unsent[batch.queue] ?? []
            if let last = batches.indices.last, batches[last].parcel.fits(batch.parcel) {
                batches[last].parcel.append(batch.parcel)
            } else {
                batches.append(batch)
            }
            unsent[batch.queue] = batches
        }

        private func lose(_ why: String) {
            outage.began("RabbitMQ", why, log)
            lostAt = lostAt ?? now
            nextAttempt = now + 500
            leave()
        }

        /// Unconfirmed batches are sent again by the next connection, to another broker if there is one.
        private func leave() {
            connection?.distrust()
            connection = nil
            isDoubtful = false
            for (_, batch, _) in unconfirmed { unsent[batch.queue, default: []].insert(batch, at: 0) }
            unconfirmed = []
        }

        private func connectIfDue() throws(RabbitMQError) {
            guard connection == nil, now >= nextAttempt else { return }
            let opened = try broker.open(name)
            try opened.selectConfirms()
            try opened.declareExchange(settings.exchangeName)
            if let newest = newestLayout(), newest != layout.value {
                layout.become(newest)
                let sorted = unsent.values.joined()
                unsent = [:]
                for batch in sorted { gather(batch) }
            }
            (connection, lostAt) = (opened, nil)
            outage.ended("RabbitMQ", log)
        }

        private func send() throws(RabbitMQError) {
            guard let connection else { return }
            let (now, busy) = (layout.value, Set(unconfirmed.map(\.batch.queue)))
            for queue in unsent.keys where !busy.contains(queue) {
                let batch = unsent[queue]![0]
                // Leave it for another connection.
                if isDoubtful, batch.refusals > 0 { continue }
                let tag = try connection.publish(
                    Command.joined(batch.parcel.bodies), to: settings.queueName(now, queue),
                    exchange: settings.exchangeName, mandatory: true, persistent: true, replyTo: nil, correlation: nil)
                unsent[queue]!.removeFirst()
                if unsent[queue]!.isEmpty { unsent[queue] = nil }
                unconfirmed.append((tag, batch, clock()))
            }
        }

        private func readConfirms() throws(RabbitMQError) {
            guard let connection else { return }
            while true {
                switch try connection.next(timeout: .zero) {
                case .confirm(let tag, let multiple, let accepted): confirm(tag, multiple, accepted)
                // The queue was unbound: a newer generation exists, or no worker has run here yet.
                case .returned: return lose("a queue is gone")
                case .delivery, .cancelled: break
                case .timeout: return
                }
            }
        }

        private func confirm(_ tag: UInt64, _ multiple: Bool, _ accepted: Bool) {
            let isMeant: (UInt64) -> Bool = { $0 == tag || multiple && $0 < tag }
            for (_, batch, sentAt) in unconfirmed.filter({ isMeant($0.tag) }) {
                var batch = batch
                guard accepted else {
                    refuse(&batch)
                    continue
                }
                fullSince[batch.queue] = nil
                confirms.observe(clock() - sentAt)
            }
            unconfirmed.removeAll { isMeant($0.tag) }
        }

        private func refuse(_ batch: inout Batch) {
            let now = now
            let isFull = fullSince[batch.queue].map { now - $0 < CommandPublisher.fullness.milliseconds } ?? false
            batch.refusals += 1
            guard !isFull, batch.refusals < CommandPublisher.tries else {
                fullSince[batch.queue] = isFull ? fullSince[batch.queue] : now
                answers.putWaiting(.refused(batch.parcel.senders, .busy("the room's queue is full")))
                return
            }
            isDoubtful = true
            unsent[batch.queue, default: []].insert(batch, at: 0)
        }

        /// Switches to another broker, at most once a second; everything unconfirmed is sent again there.
        private func leaveIfDoubtful() {
            guard let connection else { return }
            let overdue = clock() - CommandPublisher.confirmTimeout.nanoseconds
            let isSilent = unconfirmed.contains { $0.sentAt < overdue }
            if !isSilent, !isDoubtful, unconfirmed.isEmpty, connection.shouldMoveBack() {
                self.connection = nil
                return
            }
            guard isSilent || isDoubtful,
                doubtedAt == .min || now - doubtedAt >= CommandPublisher.reopening.milliseconds
            else {
                return
            }
            doubtedAt = now
            leave()
        }

        /// Gives up on a broker that is unreachable, or that accepts messages and stays silent.
        private func giveUpLate() {
            let now = now
            let isAway = lostAt.map { now - $0 > CommandPublisher.blip.milliseconds } ?? false
            let isLate: (Batch) -> Bool = { isAway || $0.deadline < now }
            let late = (unconfirmed.map(\.batch) + unsent.values.joined()).filter(isLate)
            guard !late.isEmpty else { return }
            for batch in late { answers.putWaiting(.refused(batch.parcel.senders, .unavailable("the message queue"))) }
            unconfirmed.removeAll { isLate($0.batch) }
            unsent = unsent.mapValues { $0.filter { !isLate($0) } }.filter { !$0.value.isEmpty }
        }

        /// Waits for a batch, a confirm, or the time to call the broker's heartbeat.
        private func wait() {
            if let connection, connection.hasBuffered { return }
            var polls = [pollfd(fd: arrival.descriptor, events: Int16(POLLIN), revents: 0)]
            if let connection { polls.append(pollfd(fd: connection.fileDescriptor, events: Int16(POLLIN), revents: 0)) }
            poll(&polls, nfds_t(polls.count), connection == nil ? 200 : isDoubtful ? 100 : 1000)
        }
    }
}
