import CLinux
import Glibc

/// The kernel's list of watched descriptors; each carries a 64-bit handle. Level-triggered: unread data is reported
/// again, so a tick may stop reading anywhere.
final class Epoll {
    struct Interest: OptionSet {
        let rawValue: UInt32
        static let read = Interest(rawValue: EPOLLIN.rawValue | EPOLLRDHUP.rawValue)
        /// Wakes only one of the processes that share a listening socket. (The kernel refuses RDHUP together with
        /// EXCLUSIVE.)
        static let listen = Interest(rawValue: EPOLLIN.rawValue | EPOLLEXCLUSIVE.rawValue)
        static let write = Interest(rawValue: EPOLLOUT.rawValue)
    }

    struct DescriptorEvent {
        let handle: UInt64
        let isReadable: Bool
        let isWritable: Bool
        /// Both directions are closed, or an error is pending: reading will show it.
        let isBroken: Bool
    }

    let descriptor: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    private let capacity = 1024

    init() {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        events = .allocate(capacity: capacity)
        precondition(descriptor >= 0, "no epoll: errno \(errno)")
    }

    deinit {
        close(descriptor)
        events.deallocate()
    }

    @discardableResult
    func add(_ fd: Int32, _ interest: Interest, handle: UInt64) -> Bool { control(EPOLL_CTL_ADD, fd, interest, handle) }
    @discardableResult
    func change(_ fd: Int32, _ interest: Interest, handle: UInt64) -> Bool {
        control(EPOLL_CTL_MOD, fd, interest, handle)
    }
    func remove(_ fd: Int32) { _ = control(EPOLL_CTL_DEL, fd, [], 0) }

    private func control(_ operation: Int32, _ fd: Int32, _ interest: Interest, _ handle: UInt64) -> Bool {
        var event = epoll_event()
        event.events = interest.rawValue
        event.data.u64 = handle
        return epoll_ctl(descriptor, operation, fd, &event) == 0
    }

    /// Waits at most `milliseconds`; a signal ends the wait early.
    func wait(milliseconds: Int32, _ body: (DescriptorEvent) -> Void) {
        let count = epoll_wait(descriptor, events, Int32(capacity), milliseconds)
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let bits = events[index].events
            body(
                DescriptorEvent(
                    handle: events[index].data.u64,
                    isReadable: bits & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue) != 0,
                    isWritable: bits & EPOLLOUT.rawValue != 0,
                    isBroken: bits & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0))
        }
    }
}
