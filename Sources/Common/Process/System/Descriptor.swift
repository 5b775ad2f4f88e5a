import CLinux
import ChatCore
import Glibc

/// A failed system call: the attempt, and the system's reason.
public struct SystemError: Error, CustomStringConvertible {
    public let attempt: String
    public let code: Int32

    /// Uses the `errno` of the call before.
    public init(_ attempt: String) { self.init(attempt, code: errno) }

    public init(_ attempt: String, code: Int32) {
        self.attempt = attempt
        self.code = code
    }

    public var description: String { "cannot \(attempt): \(String(cString: strerror(code)))" }
}

/// An error for the operator: one sentence that says what is wrong and what to do.
public struct OperatorError: Error, CustomStringConvertible {
    public let description: String
    public init(_ sentence: String) { description = sentence }
}

/// Owns one file descriptor and closes it when the last reference is released.
public final class Descriptor {
    public let number: Int32

    public init(_ number: Int32) { self.number = number }

    deinit { close(number) }

    /// Workers get their descriptors at 3, 4, 5…; the master keeps its own above them, so that no `dup2` in the
    /// spawned child overwrites one that a later `dup2` still needs.
    static let firstHigh: Int32 = 64

    /// Takes over `number`, moved above the workers' range and with close-on-exec set.
    convenience init(high number: Int32, _ attempt: String) throws {
        guard number >= 0 else { throw SystemError(attempt) }
        let moved = chat_fcntl_set(number, F_DUPFD_CLOEXEC, Descriptor.firstHigh)
        let code = errno
        close(number)
        guard moved >= 0 else { throw SystemError(attempt, code: code) }
        self.init(moved)
    }

    func keepOnExec(_ keep: Bool) { _ = chat_fcntl_set(number, F_SETFD, keep ? 0 : FD_CLOEXEC) }

    func setNonBlocking() { makeNonBlocking(number) }
}

func makeNonBlocking(_ descriptor: Int32) {
    _ = chat_fcntl_set(descriptor, F_SETFL, chat_fcntl_get(descriptor, F_GETFL) | O_NONBLOCK)
}

/// The monotonic clock in nanoseconds. All processes of one boot share it, so times in the scoreboard are valid for all
/// of them and survive an `execve`.
public typealias Nanoseconds = Int64

public func monotonicNow() -> Nanoseconds { monotonicNanoseconds() }
