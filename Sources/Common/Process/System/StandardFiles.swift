import CLinux
import ChatCore
import Glibc

/// Standard input, output and error.
public enum StandardFiles {
    /// Opens those that the starter has closed (`program >&-`). Otherwise a socket of PostgreSQL would get number 0, 1 or 2,
    /// and what is printed would go to the server. Call it before anything else is opened.
    ///
    /// Each is opened the wrong way round: reading from it, or writing to it, fails as it does when it is closed. So an export
    /// to nowhere is an error and does not look stored.
    public static func open() {
        for number in STDIN_FILENO...STDERR_FILENO where chat_fcntl_get(number, F_GETFD) < 0 && errno == EBADF {
            // The lowest free number, since those below are open.
            _ = Glibc.open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
    }

    /// Writes everything. A descriptor that another program has made non-blocking is waited for.
    public static func write(_ bytes: some Collection<UInt8>, to descriptor: Int32) throws(SystemError) {
        var rest = ContiguousArray(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if !canGoOn(descriptor, POLLOUT) {
                throw SystemError("write")
            }
        }
    }

    /// Reads some bytes; 0 is the end.
    public static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int
    {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            guard count < 0 else { return count }
            guard canGoOn(descriptor, POLLIN) else { throw SystemError("read") }
        }
    }

    /// After a failed call: whether the same one may succeed now. Waits where the descriptor is not ready.
    private static func canGoOn(_ descriptor: Int32, _ events: Int32) -> Bool {
        switch errno {
        case EINTR: return true
        case EAGAIN:
            var state = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            _ = poll(&state, 1, -1)
            return true
        default: return false
        }
    }

    /// Writes what `print` has buffered.
    ///
    /// - Returns: false: a part of the output is lost.
    public static func flush() -> Bool { chat_flush_output() != 0 }
}
