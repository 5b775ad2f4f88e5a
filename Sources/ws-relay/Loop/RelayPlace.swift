import ChatCore
import ChatProcess
import Glibc

/// The loop's connection to its master. `WorkerChannel` is the real one.
protocol RelayPlace: AnyObject {
    /// Readable when ``next()`` has something.
    var fileDescriptor: Int32 { get }
    var listeners: [Int32] { get }
    var scoreboard: ScoreboardRow { get }
    /// Workers of the pool, at the start.
    var poolSize: Int { get }
    func next() -> WorkerMessage?
    func ready()
}

extension WorkerChannel: RelayPlace {}

/// The system calls of the loop, except epoll. Tests have their own: they move the clock, and never wait.
struct LoopSystem {
    /// Monotonic milliseconds.
    var now: () -> Int64 = monotonicMilliseconds
    /// Unix milliseconds.
    var unix: () -> Int64 = systemClock
    /// Replaces the milliseconds that the loop wants to wait.
    var wait: (Int32) -> Int32 = { $0 }
    /// A new connection of this listener; -1 with `errno` when there is none.
    var accept: (Int32) -> Int32 = acceptNonBlocking
    var exit: (Int32) -> Void = { Glibc.exit($0) }
}
