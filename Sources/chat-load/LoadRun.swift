import ChatCore
import Glibc

/// One run, as an open loop: a message is due at its time, independent of earlier answers, and its latency counts from
/// that time. So a server that stalls cannot slow down the load (coordinated omission).
final class LoadRun {
    struct Figures {
        var sent = 0, repeated = 0, uploads = 0, skipped = 0
        var opened = 0, reconnects = 0, moves = 0, churned = 0, resyncs = 0
        /// Members' own messages that came once more after their answer: the protocol allows it.
        var ownAgain = 0
        /// Refusals and other errors, by code.
        var refusals = Tally(), errors = Tally()
        var refused: Int { refusals.total }
        var failed: Int { errors.total }

        /// All of them, the most frequent first.
        var byCode: [(text: String, count: Int)] {
            (refusals.counts.map { ("refused: \($0)", $1) } + errors.counts.map { ($0, $1) })
                .sorted { $0.1 != $1.1 ? $0.1 > $1.1 : $0.0 < $1.0 }
        }
    }

    struct Latencies {
        var ack = Histogram(), copy = Histogram(), resume = Histogram(), upload = Histogram(), rest = Histogram()
    }

    enum Timer {
        case reconnect(Int), send(Int), upload(Int), resume(Int), fetch(RestThreads.Job)
        /// No welcome came on the socket that was opened then.
        case silence(Int, openedAt: Int64)
        /// Another try of a move; and the time of the one that is tried.
        case move(Int)
        case moving(Int, ObjectIdentifier)
    }

    let options: LoadOptions
    let place: Installation
    /// The addresses that frames `move` have named.
    var targets: [String: Installation] = [:]
    let credentials: Credentials
    let run: String
    var chance: Chance
    var ledger: Ledger
    var members: [Member] = []
    var figures = Figures()
    var latencies = Latencies()
    var series = Series()
    var version = "unknown"
    let poller = Poller()
    let rest: RestThreads
    let caller: RestCaller
    let began = wallClock()
    private(set) var start: Int64 = 0
    private(set) var elapsed: Int64 = 0
    private(set) var wasInterrupted = false

    private var timers = Timers<Timer>()
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    var nextSend = 0, nextUpload = 0, nextChurn = 0
    /// The members of rooms, in turns over the rooms.
    private(set) var senders: [(member: Int, room: Int)] = []
    var nextSender = 0
    let marker: [UInt8]
    /// Of the last second.
    var ackNow = Histogram(), copyNow = Histogram()
    private var ackShown = Histogram()
    private var before = (sent: 0, acknowledged: 0, copies: 0, uploads: 0, reconnects: 0, refused: 0, failed: 0)
    private var lastTick: Int64 = 0

    init(_ options: LoadOptions, _ place: Installation, _ credentials: Credentials) {
        (self.options, self.place, self.credentials) = (options, place, credentials)
        chance = Chance(seed: options.seed)
        run = hex((0..<4).map { _ in UInt8.random(in: 0...255) })
        ledger = Ledger(run: run)
        marker = Array(ledger.prefix.utf8)
        rest = RestThreads(place, threads: 4)
        caller = RestCaller(place)
    }

    var openSockets: Int { members.count { $0.phase == .ready } }

    /// Of the last second.
    func ackNowShown(_ shares: [Double]) -> [Int64] { ackShown.quantiles(shares) }

    func countCalls() {
        for call in caller.calls { latencies.rest.add(nanoseconds: call) }
        caller.calls = []
    }

    // MARK: The loop

    /// Opens the sockets during the ramp, sends for the given time, and waits for messages in flight.
    func drive(_ view: LiveView) throws(Unusable) {
        let most = ledger.rooms.map(\.members.count).max() ?? 0
        for place in 0..<most {
            for (room, entry) in ledger.rooms.enumerated() where place < entry.members.count {
                senders.append((entry.members[place], room))
            }
        }
        poller.add(rest.wake, number: members.count, writes: false)
        try openFirst()
        start = monotonic()
        lastTick = start
        for index in 1..<max(2, members.count) where index < members.count {
            let share = Double(index) / Double(members.count) * Double(min(options.ramp, options.duration))
            timers.add(at: start + Int64(share), .reconnect(index))
        }
        let end = start + options.duration
        while monotonic() < end, interrupts == 0 {
            sendDue()
            turn(until: end)
            tick(view)
        }
        wasInterrupted = interrupts > 0
        elapsed = monotonic() - start
        let limit = monotonic() + options.patience
        while monotonic() < limit, ledger.inFlight > 0 || rest.open > 0 || isReturning, interrupts < 2 {
            turn(until: limit)
            tick(view)
        }
        tick(view, isLast: true)
        series.finish()
        for member in members { for socket in [member.connection, member.next, member.old] { socket?.closeCleanly() } }
    }

    /// A socket is reconnecting and will bring the frames that it missed.
    private var isReturning: Bool { members.contains { !$0.streams.isEmpty && $0.phase != .ready } }

    /// The first socket shows whether there is a relay at all.
    private func openFirst() throws(Unusable) {
        let limit = monotonic() + 10 * second
        open(members[0])
        while members[0].phase != .ready {
            guard monotonic() < limit, members[0].phase != .away else {
                let reason = members[0].connection?.ending ?? ""
                throw Unusable(
                    "no WebSocket at \(place.base)/ws/v1/chat: \(reason.isEmpty ? "no welcome within 10 s" : reason)")
            }
            guard interrupts == 0 else { throw Unusable("interrupted before the run began") }
            turn(until: monotonic() + 100 * millisecond)
        }
    }

    private func turn(until end: Int64) {
        var now = monotonic()
        runTimers(now)
        var next = min(end, lastTick + second)
        if let first = timers.next { next = min(next, first) }
        if now < start + options.duration, interrupts == 0 {
            next = min(next, start + options.due(nextSend, rate: options.rate))
            if options.uploads > 0 { next = min(next, start + options.due(nextUpload, rate: options.uploads)) }
            if options.churn > 0 { next = min(next, start + options.due(nextChurn, rate: options.churn)) }
        }
        now = monotonic()
        poller.wait(nanoseconds: min(max(0, next - now), 250 * millisecond)) { number, isWritable in
            guard number != members.count else { return takeResults() }
            // The second number of a member is that of every second socket of its moves.
            let member = members[number < members.count ? number : number - members.count - 1]
            guard let connection = member.socket(numbered: number) else { return }
            if isWritable { connection.writable() }
            let arrived = monotonic()
            connection.readable(memory) { take($0, member, arrived, on: connection) }
            if connection.phase == .closed { ended(connection, member) }
        }
    }

    private func runTimers(_ now: Int64) {
        while let timer = timers.take(until: now) {
            switch timer {
            case .reconnect(let index): if members[index].phase == .away { open(members[index]) }
            case .send(let number): dispatch(number)
            case .upload(let number): upload(number)
            case .resume(let index): resume(members[index])
            case .fetch(let job): rest.add(job)
            case .silence(let index, let openedAt): silent(members[index], openedAt)
            case .move(let index): openNext(members[index])
            case .moving(let index, let next): silent(members[index], next)
            }
        }
    }

    func after(_ nanoseconds: Int64, _ timer: Timer) { timers.add(at: monotonic() + nanoseconds, timer) }

    private func tick(_ view: LiveView, isLast: Bool = false) {
        let now = monotonic()
        guard now - lastTick >= second || isLast else { return }
        let (acks, copies) = (ackNow.quantiles([0.5, 0.99, 1]), copyNow.quantiles([0.5, 0.99]))
        var point = Series.Point()
        point.at = now - start
        point.seconds = Double(now - lastTick) / 1e9
        let new = (
            sent: figures.sent, acknowledged: ledger.acknowledged, copies: ledger.copies, uploads: figures.uploads,
            reconnects: figures.reconnects, refused: figures.refused, failed: figures.failed
        )
        point.sent = new.sent - before.sent
        point.acknowledged = new.acknowledged - before.acknowledged
        point.copies = new.copies - before.copies
        point.uploads = new.uploads - before.uploads
        point.reconnects = new.reconnects - before.reconnects
        point.refused = new.refused - before.refused
        point.errors = new.failed - before.failed
        point.open = openSockets
        (point.ackHalf, point.ack99, point.ackMost) = (acks[0], acks[1], acks[2])
        (point.copyHalf, point.copy99) = (copies[0], copies[1])
        series.add(point)
        before = new
        lastTick = now
        swap(&ackNow, &ackShown)
        ackNow.reset()
        copyNow.reset()
        view.show(self, point, isLast: isLast)
    }
}
