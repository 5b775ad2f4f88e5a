import CLoad
@preconcurrency import Glibc

func monotonic() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}

/// User and system time of this process, in nanoseconds.
func ownCPU() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}

func fail(_ text: String) -> Never {
    fputs("bench-client: \(text)\n", stderr)
    exit(1)
}

/// One epoll instance; every descriptor has a number.
final class Poller {
    private let descriptor = epoll_create1(0)
    private let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: 256)

    func add(_ fd: Int32, number: Int) { control(EPOLL_CTL_ADD, fd, number, writes: false) }
    func watchWrites(_ fd: Int32, number: Int, _ wanted: Bool) { control(EPOLL_CTL_MOD, fd, number, writes: wanted) }

    private func control(_ operation: Int32, _ fd: Int32, _ number: Int, writes: Bool) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | (writes ? EPOLLOUT.rawValue : 0)
        event.data.u64 = UInt64(number)
        guard epoll_ctl(descriptor, operation, fd, &event) == 0 else { fail("epoll_ctl: errno \(errno)") }
    }

    func wait(nanoseconds: Int64, _ body: (_ number: Int, _ isWritable: Bool) -> Void) {
        let count = load_wait(descriptor, events, 256, max(0, nanoseconds))
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            body(Int(events[index].data.u64), events[index].events & EPOLLOUT.rawValue != 0)
        }
    }
}

/// A TCP connection to loopback, open and not blocking.
func connectLoopback(port: UInt16) -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    guard status == 0 else { fail("cannot connect to 127.0.0.1:\(port): errno \(errno)") }
    var one: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    guard fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) == 0 else {
        fail("fcntl: errno \(errno)")
    }
    return descriptor
}
