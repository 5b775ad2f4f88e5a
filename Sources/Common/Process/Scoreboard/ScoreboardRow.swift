import CLinux
import Glibc
import Synchronization

/// One worker's row. Only that worker writes it; the master clears it after the worker's end.
public struct ScoreboardRow {
    public enum Field: Int, CaseIterable, Sendable {
        case pid, generation, pool, slot, state
        /// Seconds since 1970.
        case startedAt
        /// Totals of this worker.
        case requests, clientErrors, serverErrors, bytesOut, busyNanoseconds
        /// Monotonic clock; 0: no request in progress.
        case requestStartedAt
        /// Monotonic clock: the last turn of the worker's loop.
        case heartbeatAt
        case cpuNanoseconds, residentBytes
        /// Of the last finished request.
        case lastDuration
    }

    public enum State: Int64, Sendable { case starting, idle, busy, stopping }

    static let totals: [Field] = [
        .requests, .clientErrors, .serverErrors, .bytesOut, .busyNanoseconds,
    ]
    private static let textOffset = 128
    private static let textRoom = 128

    let board: Scoreboard
    public let index: Int
    var requestOffset: Int { offset + ScoreboardRow.textOffset }
    private var offset: Int { Scoreboard.headerBytes + index * Scoreboard.rowBytes }

    public subscript(field: Field) -> Int {
        get { Int(board.word(at: offset + field.rawValue * 8)) }
        nonmutating set { board.setWord(at: offset + field.rawValue * 8, to: Int64(newValue)) }
    }

    public var state: State {
        get { State(rawValue: Int64(self[.state])) ?? .starting }
        nonmutating set { self[.state] = Int(newValue.rawValue) }
    }

    /// Method and path of the current or last request; without the query, which may contain a token.
    public var request: String {
        let text = board.text(at: offset + ScoreboardRow.textOffset)
        return String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? "?" : $0 }))
    }

    private func counterOffset(_ counter: Int) -> Int {
        precondition(counter >= 0 && counter < Scoreboard.maxCounters)
        return Scoreboard.headerBytes + Scoreboard.rows * Scoreboard.rowBytes
            + (index * Scoreboard.maxCounters + counter) * 8
    }

    /// The program's own counters, by their position in the names passed to `Master`.
    public func counter(_ counter: Int) -> Int { Int(board.word(at: counterOffset(counter))) }
    public func set(_ counter: Int, to value: Int) {
        board.setWord(at: counterOffset(counter), to: Int64(value))
    }
    public func add(_ value: Int = 1, to counter: Int) {
        set(counter, to: self.counter(counter) &+ value)
    }

    /// A histogram, by its position in the names passed to `Master`.
    public func histogram(_ histogram: Int) -> Histogram {
        precondition(histogram >= 0 && histogram < Scoreboard.maxHistograms)
        let place = index * Scoreboard.maxHistograms + histogram
        return Histogram(board: board, offset: Scoreboard.histograms + place * Histogram.words * 8)
    }
}

// MARK: - Written by the worker

extension ScoreboardRow {
    public func beginRequest(_ method: String, _ path: String, at now: Nanoseconds = monotonicNow()) {
        board.write(
            "\(method) \(path)", at: offset + ScoreboardRow.textOffset, room: ScoreboardRow.textRoom)
        self[.requestStartedAt] = Int(now)
        state = .busy
    }

    public func endRequest(status: Int, bytes: Int, at now: Nanoseconds = monotonicNow()) {
        let duration = Int(now) - self[.requestStartedAt]
        self[.lastDuration] = duration
        self[.busyNanoseconds] += duration
        self[.requests] += 1
        self[.bytesOut] += bytes
        if status >= 500 { self[.serverErrors] += 1 } else if status >= 400 { self[.clientErrors] += 1 }
        self[.requestStartedAt] = 0
        state = .idle
        if Int(now) - self[.heartbeatAt] > 1_000_000_000 { heartbeat(at: now) }
    }

    /// Reports a turn of the loop, CPU time and memory. It makes two system calls: once a second is enough.
    public func heartbeat(at now: Nanoseconds = monotonicNow()) {
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        let microseconds = Int(usage.ru_utime.tv_usec) + Int(usage.ru_stime.tv_usec)
        self[.cpuNanoseconds] = (seconds * 1_000_000 + microseconds) * 1000
        self[.residentBytes] = residentBytes()
        self[.heartbeatAt] = Int(now)
    }
}

/// The second number of /proc/self/statm counts resident pages.
private func residentBytes() -> Int {
    let numbers = processFile("self/statm").split(separator: " ")
    return numbers.count > 1 ? (Int(numbers[1]) ?? 0) * Int(getpagesize()) : 0
}

/// Whether a signal (SIGSTOP) has stopped a process: the letter after its name, which may contain any character but is
/// in parentheses.
func isStopped(_ pid: pid_t) -> Bool {
    let text = processFile("\(pid)/stat")
    guard let end = text.lastIndex(of: ")") else { return false }
    return text[end...].dropFirst(2).first == "T"
}

/// CPU time of a process's main thread; 0 when it cannot be read.
func mainThreadTime(_ pid: pid_t) -> Nanoseconds {
    let text = processFile("\(pid)/task/\(pid)/stat")
    guard let end = text.lastIndex(of: ")") else { return 0 }
    // Fields 14 and 15 of the whole line; the first one after the name is the third.
    let fields = text[end...].dropFirst(2).split(separator: " ")
    guard fields.count > 12, let user = Nanoseconds(fields[11]), let system = Nanoseconds(fields[12]) else { return 0 }
    return (user + system) * (1_000_000_000 / Nanoseconds(max(1, sysconf(Int32(_SC_CLK_TCK)))))
}

/// The beginning of a file in /proc; empty when it cannot be read.
private func processFile(_ name: String) -> String {
    let file = open("/proc/\(name)", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    return withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { buffer in
        String(
            decoding: buffer.prefix(max(0, read(file, buffer.baseAddress, buffer.count))), as: UTF8.self)
    }
}

// MARK: - Written by the master

extension ScoreboardRow {
    /// Call this before the spawn, so that the worker is visible from its first moment.
    func prepare(pool: Int, slot: Int, generation: Int) {
        clear()
        self[.pool] = pool
        self[.slot] = slot
        self[.generation] = generation
        self[.startedAt] = time(nil)
        self[.heartbeatAt] = Int(monotonicNow())
    }

    func clear() {
        for field in Field.allCases { self[field] = 0 }
        for counter in 0..<Scoreboard.maxCounters { set(counter, to: 0) }
        for place in 0..<Scoreboard.maxHistograms { histogram(place).clear() }
        board.write("", at: offset + ScoreboardRow.textOffset, room: ScoreboardRow.textRoom)
    }

    /// Adds the totals of an ended worker. A counter is a total when its name ends in `_total`, as in Prometheus; other
    /// counters are current values and end with their worker.
    func absorb(_ worker: ScoreboardRow) {
        for field in ScoreboardRow.totals { self[field] += worker[field] }
        for (index, name) in board.counters.enumerated() where name.hasSuffix("_total") {
            add(worker.counter(index), to: index)
        }
        for index in board.histograms.indices { histogram(index).absorb(worker.histogram(index)) }
    }
}
