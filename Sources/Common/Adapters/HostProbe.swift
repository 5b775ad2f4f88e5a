import ChatCore
import Glibc

/// Checks from time to time, without blocking, whether a host accepts connections again.
final class HostProbe {
    /// The time between checks, and how long a host must have answered before a connection returns to it.
    private static let interval = Duration.seconds(30)

    private let host: ServerURL.Host
    private var nextLook: Int64
    private var descriptor: Int32 = -1

    init(_ host: ServerURL.Host) {
        self.host = host
        // A random delay keeps the processes from checking all at once.
        nextLook =
            monotonicMilliseconds() + Int64.random(in: Self.interval.milliseconds...2 * Self.interval.milliseconds)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func isBack(now: Int64) -> Bool {
        guard now >= nextLook else { return false }
        nextLook = now + (descriptor < 0 ? 1000 : Self.interval.milliseconds)
        if descriptor < 0 {
            descriptor = begin()
            return false
        }
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        let isOpen = poll(&wait, 1, 0) == 1 && wait.revents & Int16(POLLERR | POLLHUP) == 0
        close(descriptor)
        descriptor = -1
        return isOpen
    }

    private func begin() -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host.name, "\(host.port)", &hints, &found) == 0, let found else { return -1 }
        defer { freeaddrinfo(found) }
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(found.pointee.ai_family, kind, 0)
        if descriptor >= 0 { _ = connect(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) }
        return descriptor
    }
}
