import ChatAdapters
import ChatCore
import Logging

/// Tells the other workers about this one, and keeps its places in the queues' lines as all of them agree.
final class QueuePlaces {
    /// Between two reports; others believe one for ten seconds.
    private static let interval = Duration.seconds(2)
    /// Until the next try after a failed one.
    private static let retryDelay = Duration.seconds(5)
    /// How long the host's other workers count before they have reported; and those of all hosts that were there before an
    /// outage, which ends for all of them at once.
    private static let startTime = Duration.seconds(10)

    private let settings: RabbitMQSettings
    private let workers: any QueueWorkers
    private let clock: WorkerClock
    /// For a while after each start and each new connection, seats count before they report.
    private var expected: Set<QueueSeat>
    private var expectedUntil: Int64
    private(set) var own: QueueWorkerReport
    private(set) var peers: [QueueWorkerReport] = []
    private var lines: QueueLines
    private var layout: QueueLayout
    private var numbers: [String: Int] = [:]
    private var reportAt: Int64 = .min
    private var isRecorded = false

    init(
        _ settings: RabbitMQSettings, _ workers: any QueueWorkers, host: String, slot: Int, poolSize: Int,
        worker: UUID128, clock: WorkerClock
    ) {
        self.settings = settings
        self.workers = workers
        self.clock = clock
        layout = settings.firstLayout
        let seat = QueueSeat(host: host, slot: slot)
        expected = Set((0..<poolSize).map { QueueSeat(host: host, slot: $0) })
        expectedUntil = clock.now() + Self.startTime.milliseconds
        lines = QueueLines(seat, layout, now: clock.now())
        own = QueueWorkerReport(
            seat: seat, worker: worker, generation: layout.generation, setting: settings.layoutSetting,
            prefix: settings.prefix)
    }

    /// On a new connection it has no places.
    func begin(_ layout: QueueLayout, _ connection: any BrokerConnection) {
        self.layout = layout
        lines = QueueLines(own.seat, layout, now: clock.now())
        if !peers.isEmpty {
            let before = clock.now() < expectedUntil ? expected : []
            expected = before.union(peers.map(\.seat))
            expectedUntil = clock.now() + Self.startTime.milliseconds
        }
        numbers = Dictionary(uniqueKeysWithValues: (0..<layout.total).map { (settings.queueName(layout, $0), $0) })
        report(connection)
    }

    /// Call it often.
    func reportIfDue(_ connection: any BrokerConnection) {
        if clock.now() >= reportAt { report(connection) }
    }

    private func report(_ connection: any BrokerConnection) {
        (own.generation, own.lines, own.working) = (layout.generation, lines.claimed, lines.working)
        var ticket: Int64?
        do throws(StoreError) {
            (peers, ticket) = try connection.whileAway { () throws(StoreError) in try workers.report(own) }
            reportAt = clock.now() + Self.interval.milliseconds
            isRecorded = true
        } catch {
            // Without PostgreSQL every worker keeps its places, and the next in line still takes over.
            reportAt = clock.now() + Self.retryDelay.milliseconds
        }
        lines.know(peers, expected: clock.now() < expectedUntil ? expected : [], ticket: ticket)
        if ticket != nil, lines.claimed != own.lines { reportAt = clock.now() }
    }

    /// The next step, with the queue's name.
    func next() -> (step: QueueLines.Step, queue: String)? {
        guard let step = lines.next(now: clock.now()) else { return nil }
        switch step {
        case .enter(let queue), .leave(let queue): return (step, settings.queueName(layout, queue))
        }
    }

    func done(_ step: QueueLines.Step) {
        switch step {
        case .enter(let queue): lines.entered(queue)
        case .leave(let queue): lines.left(queue, now: clock.now())
        }
        if lines.mustReport { reportAt = clock.now() }
    }

    func received(from queue: String) {
        if let number = numbers[queue] { lines.received(number) }
    }

    /// Milliseconds until something is due, at most a second.
    var due: Int {
        let now = clock.now()
        return Int(min(max(now, min(reportAt, lines.nextAt)), now + 1000) - now)
    }

    /// Whether other hosts had workers when it last heard of them.
    var knowsOthers: Bool { peers.contains { $0.seat.host != own.seat.host } }

    /// The number of queues that it works on, as far as it knows.
    var count: Int { lines.working.union(lines.claimed.keys).count }

    /// Its queues are for others at once, unless a successor has its place.
    func end() {
        if isRecorded { try? workers.end(own) }
    }
}
