import ChatCore
import ChatProcess
import Glibc

/// A worker's connection to its master. `WorkerChannel` is the real one.
protocol WorkerPlace: AnyObject {
    var slot: Int { get }
    var poolSize: Int { get }
    var scoreboard: ScoreboardRow { get }
    /// Readable when there is a message from the master.
    var fileDescriptor: Int32 { get }
    var mustQuit: Bool { get }
    func ready()
}

extension WorkerChannel: WorkerPlace {}

/// The monotonic clock and the waits of a worker; tests have their own.
struct WorkerClock {
    /// Monotonic milliseconds.
    var now: () -> Int64
    /// Waits until one of the descriptors is readable, at most for these milliseconds.
    var wait: (_ milliseconds: Int, _ descriptors: [Int32]) -> Void

    static var real: WorkerClock {
        WorkerClock(now: monotonicMilliseconds) { milliseconds, descriptors in
            var polls = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            poll(&polls, nfds_t(polls.count), Int32(clamping: milliseconds))
        }
    }
}
