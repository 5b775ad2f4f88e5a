import CLoad
import ChatCore
import Glibc

/// A report's file. It is checked before the run, so that no run is lost.
final class ReportFile {
    /// After this time without a reader's progress, nothing more is written to a pipe.
    private static let timeout = Duration.seconds(10)
    private let path: String
    /// A pipe or device stays open, because the reader of a pipe would treat its closing as the end. A regular file may
    /// be moved during the run, so it is opened again.
    private var kept: Int32?

    init(_ path: String) throws(Unusable) {
        self.path = path
        let descriptor = try Self.open(path, 0)
        if load_is_regular(descriptor) == 0 { kept = descriptor } else { close(descriptor) }
    }

    /// A pipe without a reader is an error; otherwise the call would wait for one.
    private static func open(_ path: String, _ flags: Int32) throws(Unusable) -> Int32 {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | flags, 0o644)
        guard descriptor >= 0 else { throw Unusable("\(path) cannot be written: \(String(cString: strerror(errno)))") }
        return descriptor
    }

    func write(_ bytes: [UInt8]) throws(Unusable) {
        let descriptor = if let kept { kept } else { try Self.open(path, O_TRUNC) }
        kept = nil
        var problem = Self.write(bytes, descriptor)
        if close(descriptor) != 0, problem == 0 { problem = errno }
        guard problem == 0 else {
            throw Unusable("\(path) could not be written whole: \(String(cString: strerror(problem)))")
        }
    }

    /// - Returns: an errno; 0 when all is written.
    private static func write(_ bytes: [UInt8], _ descriptor: Int32) -> Int32 {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                var one = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                guard poll(&one, 1, Int32(timeout.milliseconds)) != 0 else { return ETIMEDOUT }
            } else if errno != EINTR {
                return errno
            }
        }
        return 0
    }
}
