@preconcurrency import Glibc

/// The system, as far as a master needs it for its workers: the time, signals, processes. ``LinuxKernel`` is the real
/// one; tests have one without processes. Nothing here blocks except ``wait(_:milliseconds:)``.
protocol Kernel: AnyObject {
    /// Of the monotonic clock.
    var now: Nanoseconds { get }
    /// From now on ``signals()`` returns the signals.
    ///
    /// - Returns: a descriptor that is readable when there are signals.
    func watchSignals() throws -> Int32
    /// The signals since the last call.
    func signals() -> [MasterSignal]
    /// Waits until one of the descriptors is readable, at most for these milliseconds. It fills in `revents`.
    func wait(_ polls: inout [pollfd], milliseconds: Int32)
    func start(_ process: Spawn) throws -> pid_t
    func send(_ signal: Int32, to process: pid_t)
    /// An ended child that was not returned before.
    func ended() -> (process: pid_t, status: ExitStatus)?
    /// Whether a signal (SIGSTOP) has stopped the process.
    func isStopped(_ process: pid_t) -> Bool
    /// CPU time of its main thread; 0 when it is unknown.
    func mainThreadTime(_ process: pid_t) -> Nanoseconds
    /// Replaces this process's program.
    ///
    /// - Returns: the reason of the failure; it returns only then.
    func execute(_ path: String, _ arguments: [String]) -> SystemError
}

final class LinuxKernel: Kernel {
    private var watched: Signals?

    var now: Nanoseconds { monotonicNow() }

    func watchSignals() throws -> Int32 {
        let signals = try Signals()
        watched = signals
        return signals.descriptor.number
    }

    func signals() -> [MasterSignal] { watched?.read() ?? [] }

    func wait(_ polls: inout [pollfd], milliseconds: Int32) { poll(&polls, nfds_t(polls.count), milliseconds) }

    func start(_ process: Spawn) throws -> pid_t { try process.start() }

    func send(_ signal: Int32, to process: pid_t) { Glibc.kill(process, signal) }

    func ended() -> (process: pid_t, status: ExitStatus)? {
        var status: Int32 = 0
        let process = waitpid(-1, &status, WNOHANG)
        return process > 0 ? (process, ExitStatus(waitStatus: status)) : nil
    }

    func isStopped(_ process: pid_t) -> Bool { ChatProcess.isStopped(process) }

    func mainThreadTime(_ process: pid_t) -> Nanoseconds { ChatProcess.mainThreadTime(process) }

    func execute(_ path: String, _ arguments: [String]) -> SystemError {
        _ = withCStrings(arguments) { execv(path, $0) }
        return SystemError("run \(path)")
    }
}
