public import ChatCore
import Glibc
public import Logging

/// Sends a REST worker's commands to the command queues, one at a time; answers arrive in a queue of this connection.
///
/// Direct reply-to is not used: in RabbitMQ 3.10 an answer to a requester on a dead node breaks the answering worker's
/// connection, and its rooms wait.
public final class RabbitMQCommandQueue: CommandQueue {
    /// Without a confirm for this time, another broker is tried: this one may be cut off from the cluster.
    private static let confirmTimeout = Duration.seconds(3)
    /// `reopening`: the shortest time between two connections closed for that reason. `fullness`: how
    /// long a queue that was still full after that counts as full.
    private static let reopening = Duration.seconds(1)
    private static let fullness = Duration.seconds(5)
    private static let tries = 4
    private let settings: RabbitMQSettings
    private let broker: any Broker
    private let name: String
    /// Monotonic milliseconds.
    private let now: () -> Int64
    private let pause: (Duration) -> Void
    private let log: Logger
    private let newestLayout: () -> QueueLayout?
    private var layout: QueueLayout
    private var connection: (any BrokerConnection)?
    private var replyQueue = ""
    private var doubtedAt: Int64 = .min
    /// The time since which each queue has been full, by name.
    private var fullSince: [String: Int64] = [:]
    /// Called at each confirm, with the nanoseconds that it took.
    public var onConfirm: ((Int64) -> Void)?
    /// Monotonic milliseconds before which the broker is not asked for numbers again.
    private var countsAgainAt: Int64 = .min
    private static let countingTimeout = Duration.seconds(1)
    private static let countingPause = Duration.seconds(10)

    /// - Parameter newestLayout: called for each new connection; nil when the layout is unknown.
    public convenience init(
        _ settings: RabbitMQSettings, name: String, newestLayout: @escaping () -> QueueLayout?, log: Logger
    ) {
        self.init(
            settings, broker: RabbitMQBroker(settings), name: name, newestLayout: newestLayout,
            now: monotonicMilliseconds, pause: { usleep(UInt32(clamping: $0.milliseconds * 1000)) }, log: log)
    }

    init(
        _ settings: RabbitMQSettings, broker: any Broker, name: String, newestLayout: @escaping () -> QueueLayout?,
        now: @escaping () -> Int64, pause: @escaping (Duration) -> Void, log: Logger
    ) {
        self.settings = settings
        self.broker = broker
        self.name = name
        (self.now, self.pause) = (now, pause)
        self.newestLayout = newestLayout
        self.log = log
        layout = settings.firstLayout
    }

    /// Checks whether the broker answers; for readiness.
    public func check() throws(RabbitMQError) {
        let connection = try connected()
        do throws(RabbitMQError) {
            while try connection.nextDelivery() != nil {}
        } catch {
            self.connection = nil
            _ = try connected()
        }
    }

    /// Whether any worker runs: each worker consumes every queue, as the active consumer or as a standby.
    public func hasWorkers() throws(RabbitMQError) -> Bool {
        do throws(RabbitMQError) {
            if try connected().consumers(of: settings.queueName(layout, 0)) > 0 { return true }
            // After a resize this is a queue of an older generation: a new connection looks up the newest one.
            connection = nil
            return try connected().consumers(of: settings.queueName(layout, 0)) > 0
        } catch {
            // A passive declare of a missing queue closes the channel.
            connection = nil
            throw error
        }
    }

    /// Messages with commands that no worker has taken, in all queues; nil when the broker does not answer soon. An
    /// unavailable broker is not asked again for a while: a metrics request must not wait for it each time.
    public func waitingMessages() -> Int? {
        let begun = now()
        guard begun >= countsAgainAt else { return nil }
        do throws(RabbitMQError) {
            let connection = try connected()
            var sum = 0
            for index in 0..<layout.total {
                guard now() - begun < Self.countingTimeout.milliseconds else { return nil }
                sum += try connection.look(at: settings.queueName(layout, index)).messages
            }
            return sum
        } catch {
            connection = nil
            countsAgainAt = now() + Self.countingPause.milliseconds
            return nil
        }
    }

    /// Answers the broker's heartbeats while idle; call it about once a second. Never connects.
    public func keepAlive() {
        guard let connection else { return }
        do throws(RabbitMQError) {
            while try connection.nextDelivery() != nil {}
            // The next command connects again, to the preferred broker.
            if connection.shouldMoveBack() { self.connection = nil }
        } catch {
            self.connection = nil
        }
    }

    public func submit(_ command: Command, timeout: Duration) throws(Refusal) -> CommandAnswer {
        let deadline = now() + timeout.milliseconds
        var (attempts, refusals) = (0, 0)
        while true {
            attempts += 1
            let outcome: AttemptOutcome
            do throws(RabbitMQError) {
                outcome = try attempt(command, until: deadline)
            } catch {
                connection?.distrust()
                connection = nil
                // The broker may have been down, or the connection died while idle: one new connection tells. Sending
                // the command again is safe, its id stays the same.
                guard attempts < Self.tries, now() < deadline else {
                    log.warning("a command could not be published", metadata: ["error": "\(error)"])
                    throw .unavailable("the message queue")
                }
                continue
            }
            switch outcome {
            case .answer(let answer): return answer
            case .late: throw .unavailable("the message queue")
            case .doubtful(let queue, let isRefused):
                refusals += isRefused ? 1 : 0
                guard mayDoubt(queue, refusals, until: deadline) else {
                    if isRefused { throw .busy("the room's queue is full") }
                    throw .unavailable("the message queue")
                }
                attempts = 0
            }
        }
    }

    private enum AttemptOutcome {
        case answer(CommandAnswer)
        /// Neither a confirm nor an answer arrived in the time allowed.
        case late
        /// The broker refused, or stayed silent. The queue may be full; or its leader is dead and this broker does not
        /// know yet.
        case doubtful(queue: String, isRefused: Bool)
    }

    /// Replaces the connection by one to another broker, at most once a second. False: that would not help.
    private func mayDoubt(_ queue: String, _ refusals: Int, until deadline: Int64) -> Bool {
        let now = now()
        let isFull = fullSince[queue].map { now - $0 < Self.fullness.milliseconds } ?? false
        let wait = max(0, doubtedAt == .min ? 0 : doubtedAt + Self.reopening.milliseconds - now)
        guard !isFull, refusals < Self.tries, now + wait < deadline else {
            fullSince[queue] = isFull ? fullSince[queue] : now
            return false
        }
        if wait > 0 { pause(.milliseconds(wait)) }
        doubtedAt = now + wait
        connection?.distrust()
        connection = nil
        return true
    }

    private func attempt(_ command: Command, until deadline: Int64) throws(RabbitMQError) -> AttemptOutcome {
        let connection = try connected()
        let correlation = command.id.description
        let queue = settings.queueName(layout, layout.index(command))
        let tag = try connection.publish(
            command.joinedAlone, to: queue, exchange: settings.exchangeName, mandatory: true, persistent: true,
            replyTo: replyQueue, correlation: correlation)
        let sentAt = monotonicNanoseconds()
        let doubtAt = now() + Self.confirmTimeout.milliseconds
        var confirmed = false
        while true {
            let now = now()
            guard now < deadline else { return confirmed ? .answer(.queued) : .late }
            guard confirmed || now < doubtAt else { return .doubtful(queue: queue, isRefused: false) }
            switch try connection.next(timeout: .milliseconds(min(deadline, confirmed ? deadline : doubtAt) - now)) {
            case .delivery(let answer):
                // Skip late answers to requests that were given up earlier.
                guard answer.correlation == correlation else { continue }
                guard let value = try? MessagePackReader.decode(answer.body) else {
                    throw RabbitMQError("an answer that cannot be read")
                }
                return .answer(.answered(value))
            case .confirm(let confirmedTag, let multiple, let accepted):
                guard confirmedTag == tag || multiple && confirmedTag > tag else { continue }
                guard accepted else { return .doubtful(queue: queue, isRefused: true) }
                if !confirmed { onConfirm?(monotonicNanoseconds() - sentAt) }
                confirmed = true
                fullSince[queue] = nil
            // The queue was unbound: a newer generation exists, which a new connection looks up.
            case .returned: throw RabbitMQError("the queue is gone")
            case .cancelled: throw RabbitMQError("the answers' consumer was ended")
            case .timeout: continue
            }
        }
    }

    private func connected() throws(RabbitMQError) -> any BrokerConnection {
        if let connection { return connection }
        let opened = try broker.open(name)
        try opened.selectConfirms()
        replyQueue = try opened.consumeAnswers()
        try opened.declareExchange(settings.exchangeName)
        layout = newestLayout() ?? layout
        connection = opened
        return opened
    }
}
