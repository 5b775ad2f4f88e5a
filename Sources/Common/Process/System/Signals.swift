import CLinux
import Glibc

/// The master's signals as a descriptor: they interrupt nothing, and none is lost between two reads. They stay blocked
/// over an `execve`, so the next image receives those that arrive meanwhile.
final class Signals {
    let descriptor: Descriptor

    private static let meaning: [(number: Int32, signal: MasterSignal?)] = [
        (SIGHUP, .hangup), (SIGTERM, .terminate), (SIGINT, .terminate), (SIGQUIT, .quit),
        (SIGUSR2, .upgrade),
        (SIGTTIN, .more), (SIGTTOU, .fewer), (SIGCHLD, nil),
    ]

    init() throws {
        signal(SIGPIPE, SIG_IGN)
        var set = sigset_t()
        sigemptyset(&set)
        for (number, _) in Signals.meaning { sigaddset(&set, number) }
        sigprocmask(SIG_BLOCK, &set, nil)
        descriptor = try Descriptor(high: signalfd(-1, &set, 0), "watch signals")
        descriptor.setNonBlocking()
    }

    /// Returns the pending signals without waiting. SIGCHLD only wakes the loop: the master reaps in every turn.
    func read() -> [MasterSignal] {
        var result: [MasterSignal] = []
        var info = signalfd_siginfo()
        while Glibc.read(descriptor.number, &info, MemoryLayout<signalfd_siginfo>.size) > 0 {
            let number = Int32(bitPattern: info.ssi_signo)
            if let signal = Signals.meaning.first(where: { $0.number == number })?.signal {
                result.append(signal)
            }
        }
        return result
    }
}
