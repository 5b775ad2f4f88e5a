import Glibc

/// Sends messages at a fixed rate, whatever comes back: message `i` is due at `start + i / rate`, and its latency
/// counts from there. The senders take turns over all rooms.
final class MessageLoad {
    struct Order {
        var port: UInt16
        /// One line per socket: room and token.
        var plan: [(room: String, token: String)]
        var run: String
        var rate: Int
        var seconds: Int
        var bytes = 100
        /// Seconds to wait for the last answers.
        var patience = 15
    }

    private struct Problems {
        var gaps = 0
        var doubles = 0
        var strangers = 0
        var refused = 0
        var closed = 0
        var firstRefusal = ""
    }

    private let order: Order
    private let poller = Poller()
    private var sockets: [ChatSocket] = []
    private var senders: [Int] = []
    private var membersOf: [UInt8] = []
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
    private let output = UnsafeMutableRawPointer.allocate(byteCount: 32_768, alignment: 64)

    private var problems = Problems()
    private var welcomes = 0
    private let total: Int
    private let interval: Double
    private var start: Int64 = 0
    private var next = 0
    /// The number of members' sockets that still lack each message.
    private var missing: [UInt8]
    private var acknowledged = 0
    private var completed = 0
    private var deliveries = 0
    private var completedInTime = 0
    private var acks = Histogram()
    private var arrivals = Histogram()
    private var completions = Histogram()
    private var backlog: [Int] = []
    private var lastCompletion: Int64 = 0

    init(_ order: Order) {
        self.order = order
        total = order.rate * order.seconds
        interval = 1e9 / Double(order.rate)
        missing = [UInt8](repeating: 0, count: total)
    }

    func run() {
        open()
        // The caller reads the processes' CPU times now, and again with the first result.
        print("ready")
        fflush(nil)
        guard readLine() != nil else { return }
        let cpu = ownCPU()
        drive()
        report(cpu: ownCPU() - cpu)
    }

    // MARK: Before

    private func open() {
        var rooms: [String] = []
        var byRoom: [String: [Int]] = [:]
        for (number, line) in order.plan.enumerated() {
            sockets.append(
                ChatSocket(
                    number: number, room: line.room, token: line.token, port: order.port, run: order.run,
                    bytes: order.bytes, poller: poller))
            if byRoom[line.room] == nil { rooms.append(line.room) }
            byRoom[line.room, default: []].append(number)
        }
        // One socket of each room, then the next one of each room.
        let most = byRoom.values.map(\.count).max() ?? 0
        for place in 0..<most {
            for room in rooms where place < byRoom[room]!.count { senders.append(byRoom[room]![place]) }
        }
        membersOf = sockets.map { UInt8(byRoom[String(decoding: $0.room, as: UTF8.self)]!.count) }
        let end = monotonic() + 15_000_000_000
        while welcomes < sockets.count {
            guard monotonic() < end, problems.closed == 0 else {
                fail("\(welcomes) of \(sockets.count) sockets were welcomed")
            }
            turn(nanoseconds: 100_000_000)
        }
        settle()
    }

    /// Waits until no socket holds frames: a fresh socket without a request waits for its `resume`, for at most
    /// `WS_RESUME_GRACE_MS` (250).
    private func settle() {
        let end = monotonic() + 400_000_000
        while monotonic() < end { turn(nanoseconds: 50_000_000) }
    }

    // MARK: The load

    private func due(_ number: Int) -> Int64 { start + Int64(Double(number) * interval) }

    private func drive() {
        start = monotonic() + 10_000_000
        let end = due(total)
        var sampleAt = start
        var now = monotonic()
        while completed < total, now < end + Int64(order.patience) * 1_000_000_000, problems.closed == 0 {
            var inARow = 0
            while next < total, due(next) <= now, inARow < 64 {
                let sender = senders[next % senders.count]
                missing[next] = membersOf[sender]
                sockets[sender].send(number: next, output)
                next += 1
                inARow += 1
            }
            if now >= sampleAt, now < end {
                backlog.append(Int(Double(now - start) / interval) - completed)
                sampleAt += 100_000_000
            }
            now = monotonic()
            turn(nanoseconds: next < total ? min(due(next) - now, 100_000_000) : 100_000_000)
            now = monotonic()
            if now < end { completedInTime = completed }
        }
    }

    private func turn(nanoseconds: Int64) {
        poller.wait(nanoseconds: nanoseconds) { number, isWritable in
            let socket = sockets[number]
            if isWritable { socket.writable() }
            let arrived = monotonic()
            socket.readable(input) { take($0, socket, arrived) }
            if socket.closeCode != nil { problems.closed += 1 }
        }
    }

    private func take(_ payload: UnsafeRawBufferPointer, _ socket: ChatSocket, _ now: Int64) {
        let frame = FrameScan(payload)
        guard let seq = frame.seq else {
            if frame.kind == .response { refuse(payload) }
            if payload.count > 14, payload[6] == 0xa7, payload[7] == UInt8(ascii: "w") { welcomes += 1 }
            return
        }
        check(seq, frame, socket)
        guard frame.kind != .other, let number = frame.number(after: socket.template.marker), number < next else {
            return
        }
        deliveries += 1
        socket.received += 1
        let latency = now - due(number)
        arrivals.add(nanoseconds: latency)
        if frame.kind == .response {
            acknowledged += 1
            acks.add(nanoseconds: latency)
        }
        guard missing[number] > 0 else { return problems.doubles += 1 }
        missing[number] -= 1
        guard missing[number] == 0 else { return }
        completed += 1
        lastCompletion = now
        completions.add(nanoseconds: latency)
    }

    /// Promise 2: each room's frames arrive in order, without gaps and without duplicates.
    private func check(_ seq: Int64, _ frame: FrameScan, _ socket: ChatSocket) {
        if !frame.isOf(room: socket.room) { problems.strangers += 1 }
        if socket.firstSeq == nil {
            socket.firstSeq = seq
        } else if seq <= socket.lastSeq {
            problems.doubles += 1
        } else if seq != socket.lastSeq + 1 {
            problems.gaps += 1
        }
        socket.lastSeq = seq
    }

    private func refuse(_ payload: UnsafeRawBufferPointer) {
        problems.refused += 1
        if problems.firstRefusal.isEmpty {
            problems.firstRefusal = String(
                String(decoding: payload, as: UTF8.self).unicodeScalars.filter { $0.value >= 32 })
        }
    }

    // MARK: After

    /// Rooms whose members saw different first or last Seqs, or not every message.
    private var uneven: Int {
        var ends: [[UInt8]: (Int64?, Int64)] = [:]
        return sockets.count { socket in
            guard let (first, last) = ends[socket.room] else {
                ends[socket.room] = (socket.firstSeq, socket.lastSeq)
                return false
            }
            return first != socket.firstSeq || last != socket.lastSeq
        }
    }

    private func report(cpu: Int64) {
        let last = backlog.suffix(backlog.count / 4)
        let early = backlog.dropFirst(backlog.count / 4).prefix(backlog.count / 4)
        func mean(_ values: ArraySlice<Int>) -> Int { values.reduce(0, +) / max(1, values.count) }
        print("sent \(next)")
        print("acknowledged \(acknowledged)")
        print("completed \(completed)")
        print("completed_in_time \(completedInTime)")
        print("deliveries \(deliveries)")
        print("elapsed_us \((lastCompletion - start) / 1000)")
        for (name, histogram) in [("ack", acks), ("arrival", arrivals), ("complete", completions)] {
            print("\(name)_p50_us \(histogram.quantile(0.5))")
            print("\(name)_p99_us \(histogram.quantile(0.99))")
            print("\(name)_max_us \(histogram.quantile(1))")
        }
        print("backlog_early \(mean(early))")
        print("backlog_late \(mean(last))")
        print("gaps \(problems.gaps)")
        print("doubles \(problems.doubles)")
        print("strangers \(problems.strangers)")
        print("refused \(problems.refused)")
        print("closed \(problems.closed)")
        print("uneven \(completed == total ? uneven : 0)")
        print("client_us \(cpu / 1000)")
        if !problems.firstRefusal.isEmpty { print("refusal \(problems.firstRefusal)") }
        print("end")
        fflush(nil)
    }
}
