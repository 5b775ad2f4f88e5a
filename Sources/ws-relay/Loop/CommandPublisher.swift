import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging
import Synchronization

/// Hands commands to RabbitMQ on a thread of its own, since the library blocks.
///
/// All commands of one tick and one queue travel in one AMQP message, in the order in which they came. A message is
/// kept until the broker has confirmed it and is sent again, in order, on a new connection: commands have ids, so
/// twice is once. What the broker refuses, or does not take in ten seconds, is told to the senders.
final class CommandPublisher: CommandOutlet {
    private struct Batch: Sendable {
        let queue: Int
        let body: [UInt8]
        let senders: [UnsentCommand]
        /// Monotonic milliseconds after which it is given up.
        let deadline: Int64
    }

    /// Batches that wait; past it senders are told `busy`.
    private static let waiting = 4096
    /// Commands of one AMQP message: as many as queue-worker takes at once.
    private static let joined = 256
    /// Milliseconds from a command's arrival to the end of trying; and how long a broker that cannot be reached may be
    /// away unnoticed: after that senders are told at once.
    private static let patience: Int64 = 10_000
    private static let blip: Int64 = 1000

    private let settings: RabbitMQSettings
    private let answers: BoundedInbox<Found>
    private let inbox: BoundedInbox<Batch>
    /// AMQP messages that the thread has taken and not finished.
    private let outstanding: Outstanding
    private var tick: [Int: (bodies: [[UInt8]], senders: [UnsentCommand])] = [:]

    init(_ settings: RabbitMQSettings, name: String, answers: BoundedInbox<Found>, log: Logger) {
        self.settings = settings
        self.answers = answers
        let arrival = EventCounter()
        inbox = BoundedInbox(limit: Self.waiting, onArrival: { arrival.wake() })
        let inbox = inbox
        let outstanding = Outstanding()
        self.outstanding = outstanding
        _ = startThread("commands") {
            Sending(
                settings, name: name, answers: answers, inbox: inbox, outstanding: outstanding, arrival: arrival,
                log: log
            ).run()
        }
    }

    deinit { inbox.close() }

    func put(_ command: Command, from socket: UInt64) -> Bool {
        let queue = settings.queueIndex(room: command.room, actor: command.actor)
        tick[queue, default: ([], [])].bodies.append(command.encode())
        tick[queue]!.senders.append(UnsentCommand(socket: socket, sign: command.sign))
        if tick[queue]!.bodies.count == Self.joined { hand(over: queue) }
        return true
    }

    func endTick() {
        for queue in tick.keys { hand(over: queue) }
    }

    /// Everything that was put has been confirmed or refused.
    var isIdle: Bool { tick.isEmpty && inbox.isEmpty && outstanding.count.load(ordering: .acquiring) == 0 }

    /// A millisecond, for the thread to get on.
    func waitABit() { usleep(1000) }

    private func hand(over queue: Int) {
        guard let (bodies, senders) = tick.removeValue(forKey: queue) else { return }
        let batch = Batch(
            queue: queue, body: Command.joined(bodies), senders: senders,
            deadline: monotonicMilliseconds() + Self.patience)
        if !inbox.put(batch) { _ = answers.put(.refused(senders, .busy("too many commands wait"))) }
    }

    private final class Outstanding: Sendable {
        let count = Atomic(0)
    }

    /// The thread's own side.
    private final class Sending {
        /// AMQP messages without a confirm.
        private static let window = 256

        let settings: RabbitMQSettings
        let name: String
        let answers: BoundedInbox<Found>
        let inbox: BoundedInbox<Batch>
        let outstanding: Outstanding
        let arrival: EventCounter
        let log: Logger
        var connection: RabbitMQConnection?
        var declared: Set<Int> = []
        var unsent: [Batch] = []
        var unconfirmed: [(tag: UInt64, batch: Batch)] = []
        var nextAttempt: Int64 = 0
        /// Since when the broker cannot be reached.
        var lostAt: Int64?
        var outage = Outage()

        init(
            _ settings: RabbitMQSettings, name: String, answers: BoundedInbox<Found>, inbox: BoundedInbox<Batch>,
            outstanding: Outstanding, arrival: EventCounter, log: Logger
        ) {
            self.settings = settings
            self.name = name
            self.answers = answers
            self.inbox = inbox
            self.outstanding = outstanding
            self.arrival = arrival
            self.log = log
        }

        func run() {
            while true {
                arrival.clear()
                // Counted before it is taken, so that it is never counted nowhere.
                outstanding.count.store(1, ordering: .releasing)
                unsent += inbox.drain()
                giveUpLate()
                do throws(RabbitMQError) {
                    try connectIfDue()
                    try send()
                    try readConfirms()
                } catch {
                    lose("\(error)")
                }
                outstanding.count.store(unsent.count + unconfirmed.count, ordering: .releasing)
                if inbox.isFinished, unsent.isEmpty, unconfirmed.isEmpty { return }
                wait()
            }
        }

        private func lose(_ why: String) {
            outage.began("RabbitMQ", why, log)
            connection = nil
            lostAt = lostAt ?? monotonicMilliseconds()
            unsent = unconfirmed.map(\.batch) + unsent
            unconfirmed = []
            nextAttempt = monotonicMilliseconds() + 500
        }

        private func connectIfDue() throws(RabbitMQError) {
            guard connection == nil, monotonicMilliseconds() >= nextAttempt else { return }
            let opened = try RabbitMQConnection(url: settings.url, name: name)
            try opened.selectConfirms()
            declared = []
            (connection, lostAt) = (opened, nil)
            outage.ended("RabbitMQ", log)
        }

        private func send() throws(RabbitMQError) {
            guard let connection else { return }
            var sent = 0
            defer { unsent.removeFirst(sent) }
            while sent < unsent.count, unconfirmed.count < Self.window {
                let batch = unsent[sent]
                let queue = settings.queueName(batch.queue)
                if !declared.contains(batch.queue) {
                    try connection.declareCommandQueue(
                        queue, quorum: settings.quorumQueues, maxLength: settings.maxLength)
                    declared.insert(batch.queue)
                }
                let tag = try connection.publish(batch.body, to: queue, mandatory: true, persistent: true)
                sent += 1
                unconfirmed.append((tag, batch))
            }
        }

        private func readConfirms() throws(RabbitMQError) {
            guard let connection else { return }
            while true {
                switch try connection.next(timeout: 0) {
                case .confirm(let tag, let multiple, let accepted): confirm(tag, multiple, accepted)
                case .returned: return lose("a queue is gone")
                case .delivery, .cancelled: break
                case .timeout: return
                }
            }
        }

        private func confirm(_ tag: UInt64, _ multiple: Bool, _ accepted: Bool) {
            let isMeant: (UInt64) -> Bool = { $0 == tag || multiple && $0 < tag }
            if !accepted {
                for entry in unconfirmed where isMeant(entry.tag) {
                    answers.putWaiting(.refused(entry.batch.senders, .busy("the room's queue is full")))
                }
            }
            unconfirmed.removeAll { isMeant($0.tag) }
        }

        /// A broker that is away, or takes messages and says nothing.
        private func giveUpLate() {
            let now = monotonicMilliseconds()
            let isAway = lostAt.map { now - $0 > CommandPublisher.blip } ?? false
            let isLate: (Batch) -> Bool = { isAway || $0.deadline < now }
            let late = (unconfirmed.map(\.batch) + unsent).filter(isLate)
            guard !late.isEmpty else { return }
            for batch in late { answers.putWaiting(.refused(batch.senders, .unavailable("the message queue"))) }
            unconfirmed.removeAll { isLate($0.batch) }
            unsent.removeAll(where: isLate)
        }

        /// For a batch, a confirm, or the time to call the broker's heartbeat.
        private func wait() {
            if let connection, connection.hasBuffered { return }
            var polls = [pollfd(fd: arrival.descriptor, events: Int16(POLLIN), revents: 0)]
            if let connection { polls.append(pollfd(fd: connection.fileDescriptor, events: Int16(POLLIN), revents: 0)) }
            poll(&polls, nfds_t(polls.count), connection == nil ? 200 : 1000)
        }
    }
}
