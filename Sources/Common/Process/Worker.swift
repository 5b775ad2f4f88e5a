import CLinux
import Glibc

/// One worker process as the master knows it.
struct Worker: Equatable {
    enum Phase: String { case starting, ready, stopping }

    let id: Int
    let pool: String
    let slot: Int
    let generation: Int
    /// Its row in the scoreboard. Two workers of one slot live side by side during a reload, so it is not the slot.
    let board: Int
    let startedAt: Nanoseconds
    var pid: pid_t = 0
    var phase = Phase.starting
    /// When it is killed unless it has got further: said ready, or ended.
    var deadline: Nanoseconds?
    /// Why it should be replaced though its generation is right: its own wish, or too much memory.
    var renewal: String?
    /// It hangs, and was asked at this time where it is.
    var askedWhere: Nanoseconds?

    var label: String { "\(pool)/\(slot)" }
}

/// How a child ended, as `waitpid` says it.
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

/// What the scoreboard says about a worker at the moment of a tick.
struct Observation: Equatable {
    /// When the request in hand began; nil: idle.
    var busySince: Nanoseconds?
    /// The last sign of life of one that a signal has stopped (SIGSTOP); nil: it runs.
    var frozenSince: Nanoseconds?
    /// The last sign of life of one that has given none for a while and has no request in hand; nil: it lives.
    var silentSince: Nanoseconds?
    /// Processor time of its main thread since it was first seen silent.
    var burnt: Nanoseconds = 0
    var residentBytes = 0
    /// Method and path of the request in hand, for the log.
    var request = ""
}
