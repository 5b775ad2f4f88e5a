import CLinux
import Glibc

/// Accepts the next connection, non-blocking; -1 with `errno` when there is none. TCP_NODELAY: a tick has already
/// joined small writes.
func acceptNonBlocking(_ listener: Int32) -> Int32 {
    let descriptor = chat_accept4(listener, Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
    guard descriptor >= 0 else { return -1 }
    var on: Int32 = 1
    // Fails on unix sockets, which do not need it.
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    return descriptor
}
