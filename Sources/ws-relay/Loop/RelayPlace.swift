import ChatCore
import ChatProcess
import Glibc

/// A relay's place in its pool: what its loop asks of its master. `WorkerChannel` is the real one.
protocol RelayPlace: AnyObject {
    /// Readable when ``next()`` has something.
    var fileDescriptor: Int32 { get }
    var listeners: [Int32] { get }
    var scoreboard: ScoreboardRow { get }
    func next() -> WorkerMessage?
    func ready()
}

extension WorkerChannel: RelayPlace {}

/// The system beside epoll, for the loop. Tests have their own: they move the clock, and wait for nothing.
struct LoopSystem {
    /// Monotonic milliseconds.
    var now: () -> Int64 = monotonicMilliseconds
    /// Unix milliseconds.
    var unix: () -> Int64 = systemClock
    /// The milliseconds that the loop waits in place of these.
    var wait: (Int32) -> Int32 = { $0 }
    /// A new connection of this listener; -1 with `errno` when there is none.
    var accept: (Int32) -> Int32 = acceptNonBlocking
    var exit: (Int32) -> Void = { Glibc.exit($0) }
}
