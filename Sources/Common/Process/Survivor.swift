import CLinux
import Glibc

/// A worker that still runs without its master (`WorkerMessage.orphaned`), until a worker of another master takes over.
public final class Survivor {
    /// Milliseconds in which the kernel ends it.
    private static let patience: Int32 = 2000

    private let line: Descriptor
    private let process: Descriptor

    /// Nil: the process that made the line is dead, or its PID now belongs to another one.
    init?(line: Int32, named name: String) {
        self.line = Descriptor(line)
        process = Descriptor(chat_pidfd_open(chat_peer_pid(line)))
        guard process.number >= 0, !hasEnded(within: 0), Self.name(of: chat_peer_pid(line)) == name else {
            return nil
        }
    }

    /// The other end of `WorkerMessage.orphaned`. The caller closes it.
    public func openLine() -> Int32 { chat_fcntl_set(line.number, F_DUPFD_CLOEXEC, 0) }

    /// Asks it to end; it closes its client sockets properly.
    public func askToEnd() { _ = chat_pidfd_signal(process.number, SIGTERM) }

    /// Ends it at once: its descriptors then remain with its descriptor holder.
    public func kill() {
        _ = chat_pidfd_signal(process.number, SIGKILL)
        _ = hasEnded(within: Self.patience)
    }

    private func hasEnded(within milliseconds: Int32) -> Bool {
        var polls = [pollfd(fd: process.number, events: Int16(POLLIN), revents: 0)]
        return poll(&polls, 1, milliseconds) > 0
    }

    /// The process name that `chat_prctl_name` set.
    private static func name(of pid: pid_t) -> String {
        let file = Descriptor(open("/proc/\(pid)/comm", O_RDONLY | O_CLOEXEC))
        var bytes = [UInt8](repeating: 0, count: 16)
        let got = read(file.number, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, got)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}
