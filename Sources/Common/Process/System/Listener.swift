import CLinux
import ChatCore
import Glibc

/// The file of a bound socket. Its path may lead to another file by now, which belongs to another process.
struct SocketFile: Equatable {
    let path: String
    let device: UInt64
    let inode: UInt64

    init(path: String, device: UInt64, inode: UInt64) {
        (self.path, self.device, self.inode) = (path, device, inode)
    }

    /// Nil: no socket is there.
    init?(at path: String) {
        var status = stat()
        guard !path.isEmpty, lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        self.init(path: path, device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    var isThere: Bool { SocketFile(at: path) == self }

    /// Call it while the socket is open: until then no other file can have the same inode.
    func remove() { if isThere { unlink(path) } }
}

/// A bound, listening, non-blocking socket that the master holds for its workers.
final class Listener {
    /// The pools' spellings of the address, the newest first.
    private(set) var names: [String]
    let place: SocketPlace
    let descriptor: Descriptor
    /// Passed in by systemd: this program must not remove it.
    let inherited: Bool
    /// Nil for TCP.
    let file: SocketFile?

    /// nginx answers 502 as soon as the queue of a unix socket is full, so it must be larger than any burst (php-fpm:
    /// 511). A client of a full TCP queue retries only after a second. The kernel's own limit is net.core.somaxconn.
    static let backlog: Int32 = 4096
    /// After a SIGKILL of a master its workers hold the port until they finish: a short wait is worth it.
    static let maxPortTries = 50

    init(name: String, descriptor: Descriptor, inherited: Bool, file: SocketFile?) {
        names = [name]
        // The name of a socket from systemd is not an address.
        place = inherited ? .file(folder: "", name: name) : SocketPlace(name)
        self.descriptor = descriptor
        self.inherited = inherited
        self.file = file
        descriptor.setNonBlocking()
    }

    /// - Parameter attempts: tries at a port that is in use, 0.1 s apart.
    static func bind(
        _ address: ListenAddress, left: [Descriptor] = [], attempts: Int = maxPortTries
    ) throws -> Listener {
        switch address {
        case .unix(let path, let mode, let group, let owner):
            let (descriptor, file) = try bindUnix(path, mode: mode, group: group, owner: owner)
            return Listener(name: address.description, descriptor: descriptor, inherited: false, file: file)
        case .tcp(let host, let port):
            let descriptor = try bindTCP(host, port, address.description, left, attempts)
            return Listener(name: address.description, descriptor: descriptor, inherited: false, file: nil)
        }
    }

    var name: String { names[0] }

    /// Removes the path, so that nobody connects to a socket without a server.
    func removePath() {
        if !inherited { file?.remove() }
    }

    /// False: its path was removed or replaced, so clients cannot reach it.
    var isReachable: Bool { inherited || file?.isThere != false }

    func alsoCall(_ name: String) { names = [name] + names.filter { $0 != name } }
}

// MARK: - Unix

/// Binds under a temporary name and renames: clients see the old socket or the new one, never none.
func bindUnix(_ path: String, mode: UInt32, group: String? = nil, owner: String? = nil) throws -> (
    Descriptor, SocketFile
) {
    if let owner = livingOwner(ofSocket: path) {
        throw OperatorError(
            "unix:\(path) is in use by process \(owner): stop it first, or choose another path")
    }
    var status = stat()
    if lstat(path, &status) == 0, status.st_mode & S_IFMT != S_IFSOCK {
        throw OperatorError(
            "\(path) already exists and is not a socket: remove it, or choose another path")
    }
    // For the sockets of control and file keepers: nobody could connect to a longer path after the rename.
    let path = try ListenAddress.checked(path: path)
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    let temporary = try ListenAddress.checked(path: "\(folder)/.\(getpid())")
    let socket = try Descriptor(
        high: Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0), "make a socket")
    unlink(temporary)
    guard withUnixAddress(temporary, { Glibc.bind(socket.number, $0, $1) }) == 0 else {
        throw SystemError("bind unix:\(path)")
    }
    do {
        try giveSocket(temporary, mode: mode, group: group, owner: owner)
        // `listen` comes last: until then nobody can connect, so the file's mode is set in time. A umask would affect
        // other threads.
        guard listen(socket.number, Listener.backlog) == 0 else { throw SystemError("listen on unix:\(path)") }
    } catch {
        unlink(temporary)
        throw error
    }
    guard let file = SocketFile(at: temporary), rename(temporary, path) == 0 else {
        let code = errno
        unlink(temporary)
        throw SystemError("bind unix:\(path)", code: code)
    }
    return (socket, SocketFile(path: path, device: file.device, inode: file.inode))
}

func giveSocket(_ path: String, mode: UInt32, group: String?, owner: String?) throws {
    if let owner {
        guard let entry = getpwnam(owner) else { throw OperatorError("there is no user \(owner)") }
        guard entry.pointee.pw_uid == geteuid() || chown(path, entry.pointee.pw_uid, gid_t.max) == 0 else {
            throw SystemError("give the socket to the user \(owner) (only root may)")
        }
    }
    if let group {
        guard let entry = getgrnam(group) else {
            throw OperatorError("there is no group \(group): make it, or name the group of nginx's user")
        }
        guard chown(path, uid_t.max, entry.pointee.gr_gid) == 0 else {
            throw SystemError("give the socket to the group \(group) (its user must be a member)")
        }
    }
    guard chmod(path, mode) == 0 else { throw SystemError("set the mode of the socket \(path)") }
}

/// The process that listens on `path`, when it is another one and alive. The kernel remembers which process called
/// `listen`: workers that outlived their master still hold its socket, but do not count.
private func livingOwner(ofSocket path: String) -> pid_t? {
    let probe = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard probe >= 0 else { return nil }
    defer { close(probe) }
    makeNonBlocking(probe)
    guard withUnixAddress(path, { connect(probe, $0, $1) }) == 0 || errno == EAGAIN else {
        return nil
    }
    let owner = chat_peer_pid(probe)
    guard owner > 0, owner != getpid() else { return nil }
    return kill(owner, 0) == 0 || errno == EPERM ? owner : nil
}

// MARK: - TCP

private func bindTCP(
    _ host: String, _ port: UInt16, _ name: String, _ left: [Descriptor], _ attempts: Int
) throws -> Descriptor {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_PASSIVE
    var found: UnsafeMutablePointer<addrinfo>?
    let problem = getaddrinfo(host, String(port), &hints, &found)
    guard problem == 0, let address = found?.pointee else {
        throw OperatorError("cannot listen on \(name): \(String(cString: gai_strerror(problem)))")
    }
    defer { freeaddrinfo(found) }
    if let old = left.first(where: { isListening($0, at: address) }) { return old }
    let socket = try Descriptor(
        high: Glibc.socket(address.ai_family, address.ai_socktype, 0), "make a socket")
    var on: Int32 = 1
    setsockopt(socket.number, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    for attempt in 1...max(1, attempts) {
        if bind(socket.number, address.ai_addr, address.ai_addrlen) == 0,
            listen(socket.number, Listener.backlog) == 0
        {
            return socket
        }
        guard errno == EADDRINUSE, attempt < attempts else { break }
        usleep(100_000)
    }
    guard errno != EADDRINUSE else {
        throw OperatorError(
            "\(name) is in use by another program: stop it (ss -ltnp shows it), or choose another port")
    }
    throw SystemError("listen on \(name)")
}

private func isListening(_ socket: Descriptor, at wanted: addrinfo) -> Bool {
    var (listens, size): (Int32, socklen_t) = (0, 4)
    getsockopt(socket.number, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size)
    var own = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let isNamed = withUnsafeMutablePointer(to: &own) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket.number, $0, &length) == 0 }
    }
    return listens != 0 && isNamed && length == wanted.ai_addrlen && memcmp(&own, wanted.ai_addr, Int(length)) == 0
}
