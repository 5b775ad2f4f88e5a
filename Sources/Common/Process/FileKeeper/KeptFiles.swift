import CLinux
import ChatCore
import Glibc

/// The descriptors of a dead worker, or of a worker whose master is dead, requested by their numbers in that worker.
/// They stay open until the requester's own master knows that the requester is ready.
public final class KeptFiles {
    /// Two seconds are enough: the file keeper has no other work.
    private static let answerTimeout: Duration = .seconds(2)
    /// Descriptors per request; the kernel allows 253 per message.
    private static let files = 200

    private let keeper: Descriptor
    private let answerTimeout: Duration

    /// - Parameter keeper: `WorkerChannel.orphanedFiles`.
    public convenience init(_ keeper: Int32) { self.init(Descriptor(keeper)) }

    init(_ keeper: Descriptor, answerTimeout: Duration = KeptFiles.answerTimeout) {
        self.keeper = keeper
        self.answerTimeout = answerTimeout
    }

    /// The file that the dead worker had as `WorkerChannel.stateFile`.
    public func stateFile() -> Int32? { ask([-1])?.first }

    /// The worker itself, when only its master is dead.
    public func worker(named name: String) -> OrphanedWorker? {
        ask([-2])?.first.flatMap { OrphanedWorker(line: $0, named: name) }
    }

    /// The descriptors with these numbers, in order; nil for a closed one. The caller closes them.
    public func files(_ numbers: [Int32]) -> [Int32?] {
        stride(from: 0, to: numbers.count, by: Self.files).flatMap { start -> [Int32?] in
            let some = Array(numbers[start..<min(start + Self.files, numbers.count)])
            // One closed descriptor makes the whole request fail: then each is requested alone.
            return ask(some) ?? some.map { ask([$0])?.first }
        }
    }

    private func ask(_ numbers: [Int32]) -> [Int32]? {
        let size = numbers.count * MemoryLayout<Int32>.size
        guard send(keeper.number, numbers, size, Int32(MSG_NOSIGNAL)) == size else { return nil }
        var polls = [pollfd(fd: keeper.number, events: Int16(POLLIN), revents: 0)]
        guard poll(&polls, 1, Int32(answerTimeout.milliseconds)) > 0 else { return nil }
        var word: [UInt8] = [0]
        let (got, found) = receiveDescriptors(keeper.number, &word)
        guard got > 0 else { return nil }
        guard found.count == numbers.count else {
            found.forEach { close($0) }
            return nil
        }
        return found
    }
}

/// A worker that still runs without its master (`WorkerMessage.orphaned`), until a worker of another master takes over.
public final class OrphanedWorker {
    /// The time in which the kernel must have ended it.
    private static let killTimeout: Duration = .seconds(2)

    private let line: Descriptor
    private let process: Descriptor

    /// Nil: the process at the other end is dead, or its PID now belongs to another process.
    init?(line: Int32, named name: String) {
        self.line = Descriptor(line)
        process = Descriptor(chat_pidfd_open(chat_peer_pid(line)))
        guard process.number >= 0, !hasEnded(within: .zero), Self.name(of: chat_peer_pid(line)) == name else {
            return nil
        }
    }

    /// The other end of `WorkerMessage.orphaned`. The caller closes it.
    public func openLine() -> Int32 { chat_fcntl_set(line.number, F_DUPFD_CLOEXEC, 0) }

    /// Asks it to end; it closes its client sockets properly.
    public func askToEnd() { _ = chat_pidfd_signal(process.number, SIGTERM) }

    /// Ends it at once: its descriptors then remain with its file keeper.
    public func kill() {
        _ = chat_pidfd_signal(process.number, SIGKILL)
        _ = hasEnded(within: Self.killTimeout)
    }

    private func hasEnded(within time: Duration) -> Bool {
        var polls = [pollfd(fd: process.number, events: Int16(POLLIN), revents: 0)]
        return poll(&polls, 1, Int32(time.milliseconds)) > 0
    }

    /// The process name that `chat_prctl_name` set.
    private static func name(of pid: pid_t) -> String {
        let file = Descriptor(open("/proc/\(pid)/comm", O_RDONLY | O_CLOEXEC))
        var bytes = [UInt8](repeating: 0, count: 16)
        let got = read(file.number, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, got)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}
