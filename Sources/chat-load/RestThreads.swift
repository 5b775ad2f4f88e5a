import CLoad
import ChatAdapters
import ChatCore
import Glibc

/// REST calls in a few threads, each with its own connection. The results wake the run's main thread.
final class RestThreads: @unchecked Sendable {
    enum Job: Sendable {
        /// A message with a file: its draft, and the file as one chunk. Both may be repeated.
        case upload(number: Int, room: String, sign: String, token: String, bytes: Int)
        /// The messages that `resync` says to fetch.
        case history(member: Int, stream: Int, room: String, token: String, wanted: [ClosedRange<Int64>])
    }

    enum JobOutcome: Sendable {
        case stored(seq: Int64)
        /// Try again after this many milliseconds.
        case again(String, Int64)
        case refused(String)
        case messages([Found])
    }

    struct Found: Sendable {
        let seq: Int64
        let sign: String
    }

    struct Done: Sendable {
        let job: Job
        let outcome: JobOutcome
        /// Nanoseconds of each call.
        let calls: [Int64]
    }

    private let place: Installation
    private let monitor = Monitor()
    private var jobs: [Job] = []
    private var done: [Done] = []
    private(set) var open = 0
    let wake = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))

    init(_ place: Installation, threads: Int) {
        self.place = place
        for _ in 0..<threads { _ = startThread { [self] in work() } }
    }

    func add(_ job: Job) {
        open += 1
        monitor.locked {
            jobs.append(job)
            monitor.notify()
        }
    }

    func take() -> [Done] {
        var count: UInt64 = 0
        _ = read(wake, &count, 8)
        let found = monitor.locked {
            defer { done = [] }
            return done
        }
        open -= found.count
        return found
    }

    private func work() {
        let caller = RestCaller(place)
        while true {
            let job = monitor.locked {
                while jobs.isEmpty { monitor.wait(until: monotonic() / millisecond + 60_000) }
                return jobs.removeFirst()
            }
            caller.calls = []
            let outcome = caller.run(job)
            monitor.locked { done.append(Done(job: job, outcome: outcome, calls: caller.calls)) }
            var one: UInt64 = 1
            _ = write(wake, &one, 8)
        }
    }
}
