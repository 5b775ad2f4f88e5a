import CLinux
import Glibc

/// One worker process, as the master sees it.
struct Worker: Equatable {
    enum Phase: String { case starting, ready, stopping }

    let id: Int
    let pool: String
    let slot: Int
    let generation: Int
    /// Its row in the scoreboard. It differs from the slot: during a reload two workers share one slot.
    let row: Int
    let startedAt: Nanoseconds
    var pid: pid_t = 0
    var phase = Phase.starting
    /// It is killed at this time unless it has made progress: became ready, or ended.
    var deadline: Nanoseconds?
    /// The reason to replace it although its generation is current: its own request, or too much memory.
    var renewal: String?
    /// It hangs, and was asked for its stack at this time.
    var askedWhere: Nanoseconds?
    /// The beginning of the slow request for which it was asked for its stack.
    var askedStack: Nanoseconds?

    var label: String { "\(pool)/\(slot)" }
    /// For the log.
    var name: String { "worker \(label) (pid \(pid))" }
}

/// The exit status of a child, from `waitpid`.
enum ExitStatus: Equatable, CustomStringConvertible {
    case exited(Int32)
    case killed(Int32)

    init(waitStatus: Int32) {
        self =
            chat_wifsignaled(waitStatus) != 0
            ? .killed(chat_wtermsig(waitStatus)) : .exited(chat_wexitstatus(waitStatus))
    }

    var description: String {
        switch self {
        case .exited(let code): "ended with status \(code)"
        case .killed(SIGKILL): "was killed by SIGKILL"
        case .killed(let signal):
            "was killed by signal \(signal) (\(String(cString: strsignal(signal))))"
        }
    }
}

/// The scoreboard's data about a worker at a tick.
struct Observation: Equatable {
    /// When the current request began; nil: idle.
    var busySince: Nanoseconds?
    /// The last sign of life of a worker stopped by a signal (SIGSTOP); nil: it is running.
    var frozenSince: Nanoseconds?
    /// The last sign of life of a silent worker without a request; nil: it is not silent.
    var silentSince: Nanoseconds?
    /// CPU time of its main thread since it was first found silent.
    var burnt: Nanoseconds = 0
    var residentBytes = 0
    /// Method and path of the current request, for the log.
    var request = ""
}
