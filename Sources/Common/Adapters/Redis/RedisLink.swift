import CHiredis
import ChatCore
import Glibc

/// A socket to Redis, plain or with TLS, with its buffers. Closed when it is released.
final class RedisLink {
    /// The time without a TCP acknowledgement after which the other host counts as lost.
    private static let unheard = Duration.seconds(5)
    private static let chunk = 16_384
    /// Linux's POLLRDHUP (the other side sends no more); Swift does not import the C name.
    private static let hungUp: Int16 = 0x2000

    let descriptor: Int32
    private let host: ServerURL.Host?
    private let order: HostOrder?
    private var tls: TLSSession?
    private let reader: UnsafeMutablePointer<redisReader>
    private var unsent: [UInt8] = []
    private var sent = 0
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk, alignment: 16)

    private init(_ descriptor: Int32, _ host: ServerURL.Host?, _ order: HostOrder?) {
        (self.descriptor, self.host, self.order) = (descriptor, host, order)
        reader = redisReaderCreate()
    }

    deinit {
        Glibc.close(descriptor)
        redisReaderFree(reader)
        buffer.deallocate()
    }

    /// Marks this host as suspect: the next connection tries others first.
    func distrust() { if let host { order?.failed(host, now: monotonicMilliseconds()) } }

    /// Redis closed the idle connection (after a restart, for example). Nothing was sent on it yet, so a new connection
    /// is safe.
    var hasHungUp: Bool {
        var state = pollfd(fd: descriptor, events: Self.hungUp, revents: 0)
        return poll(&state, 1, 0) > 0
    }

    // MARK: Opening

    static func open(_ servers: RedisServers, timeout: Int) throws(RedisError) -> RedisLink {
        let deadline = monotonicMilliseconds() + Int64(timeout)
        switch servers.way {
        case .socket(let path):
            let link = RedisLink(try connect(path: path), nil, nil)
            try link.greet(servers, mustBePrimary: false, deadline)
            return link
        case .hosts(let hosts): return try open(hosts, servers, mustBePrimary: hosts.count > 1, deadline)
        case .sentinels(let sentinels, let master):
            let host = try ask(sentinels, for: master, servers, deadline)
            return try open([host], servers, mustBePrimary: true, deadline)
        case .cluster: throw RedisError(reason: "a cluster's nodes are connected one by one")
        }
    }

    /// Connects to one node of a cluster.
    static func open(
        _ host: ServerURL.Host, of servers: RedisServers, until deadline: Int64
    ) throws(RedisError) -> RedisLink {
        let link = RedisLink(try connect(host, deadline), host, nil)
        if servers.isTLS { try link.secure(servers.files, host.name, deadline) }
        try link.greet(servers, mustBePrimary: false, deadline)
        return link
    }

    private static func open(
        _ hosts: [ServerURL.Host], _ servers: RedisServers, mustBePrimary: Bool, _ deadline: Int64
    ) throws(RedisError) -> RedisLink {
        let order = HostOrder.of(hosts)
        var problems: [String] = []
        let candidates = order.candidates(now: monotonicMilliseconds())
        for (index, host) in candidates.enumerated() {
            let mine = HostOrder.share(
                of: deadline, among: candidates.count - index, now: monotonicMilliseconds())
            do throws(RedisError) {
                let link = RedisLink(try connect(host, mine), host, order)
                if servers.isTLS { try link.secure(servers.files, host.name, mine) }
                try link.greet(servers, mustBePrimary: mustBePrimary, mine)
                return link
            } catch {
                order.failed(host, now: monotonicMilliseconds())
                problems.append("\(host): \(error.reason)")
            }
        }
        throw RedisError(description: "Redis: " + problems.joined(separator: "; "), isConnection: true)
    }

    /// Asks the Sentinels in turn for the address of the primary.
    private static func ask(
        _ sentinels: [ServerURL.Host], for master: String, _ servers: RedisServers, _ deadline: Int64
    ) throws(RedisError) -> ServerURL.Host {
        let order = HostOrder.of(sentinels)
        var problems: [String] = []
        let candidates = order.candidates(now: monotonicMilliseconds())
        for (index, sentinel) in candidates.enumerated() {
            // One share of the time is for the primary that they name.
            let mine = HostOrder.share(
                of: deadline, among: candidates.count - index + 1, now: monotonicMilliseconds())
            do throws(RedisError) {
                let link = RedisLink(try connect(sentinel, mine), sentinel, order)
                if servers.isTLS { try link.secure(servers.files, sentinel.name, mine) }
                if let password = servers.sentinelPassword {
                    try link.authenticate(servers.sentinelUser, password, mine)
                }
                let words = ["SENTINEL", "get-master-addr-by-name", master].map { RedisWord(word: $0) }
                let answer = try link.ask([words], until: mine)[0]
                guard let parts = answer.array?.compactMap(\.bytes), parts.count == 2,
                    let port = Int(String(decoding: parts[1], as: UTF8.self))
                else { throw RedisError(reason: "it knows no master \(master)") }
                return ServerURL.Host(String(decoding: parts[0], as: UTF8.self), port)
            } catch {
                order.failed(sentinel, now: monotonicMilliseconds())
                problems.append("Sentinel \(sentinel): \(error.reason)")
            }
        }
        throw RedisError(description: "Redis: " + problems.joined(separator: "; "), isConnection: true)
    }

    private static func connect(path: String) throws(RedisError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = try newSocket(AF_UNIX)
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else {
            let error = RedisError(reason: "\(path): \(String(cString: strerror(errno)))")
            Glibc.close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func newSocket(_ family: Int32) throws(RedisError) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(family, kind, 0)
        guard descriptor >= 0 else { throw RedisError(reason: String(cString: strerror(errno))) }
        return descriptor
    }

    /// Tries all addresses of the name in turn.
    private static func connect(_ host: ServerURL.Host, _ deadline: Int64) throws(RedisError) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host.name, "\(host.port)", &hints, &found)
        guard status == 0, let first = found else { throw RedisError(reason: String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(first) }
        var problem = RedisError(reason: "no address")
        var next = found
        while let info = next?.pointee {
            next = info.ai_next
            let descriptor = try newSocket(info.ai_family)
            if Glibc.connect(descriptor, info.ai_addr, info.ai_addrlen) == 0 || errno == EINPROGRESS {
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                let ready = poll(&wait, 1, Int32(max(0, deadline - monotonicMilliseconds())))
                var (code, size) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
                if ready == 1, code == 0 {
                    keepAlive(descriptor)
                    return descriptor
                }
                problem = RedisError(reason: ready == 1 ? String(cString: strerror(code)) : "no answer in time")
            } else {
                problem = RedisError(reason: String(cString: strerror(errno)))
            }
            Glibc.close(descriptor)
        }
        throw problem
    }

    /// Detects a host that was cut off within seconds, even on a connection that only listens.
    private static func keepAlive(_ descriptor: Int32) {
        func set(_ level: Int32, _ option: Int32, _ value: UInt32) {
            var value = value
            setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<UInt32>.size))
        }
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 2)
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
        set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, UInt32(unheard.milliseconds))
    }

    private func secure(_ files: TLSFiles, _ name: String, _ deadline: Int64) throws(RedisError) {
        do {
            let session = try TLSSession(files, host: name)
            while true {
                // Send the pending bytes after a failure too: they tell the other side the reason.
                let isDone = Result { () throws(TLSError) in try session.handshake() }
                unsent += session.drain()
                try? flush(until: deadline)
                if try isDone.get() { break }
                try wait(for: POLLIN, deadline)
                let count = try receiveBytes()
                session.feed(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            tls = session
        } catch let error as TLSError {
            throw RedisError(reason: error.description)
        } catch let error as RedisError {
            throw error
        } catch { throw RedisError(reason: "\(error)") }
    }

    /// Sends the first commands of a new connection.
    private func greet(_ servers: RedisServers, mustBePrimary: Bool, _ deadline: Int64) throws(RedisError) {
        if let password = servers.password { try authenticate(servers.user, password, deadline) }
        var words: [[String]] = []
        if servers.database != 0 { words.append(["SELECT", "\(servers.database)"]) }
        let isAlone = host != nil && !servers.isCluster
        if isAlone { words += [["CLUSTER", "INFO"], ["ROLE"]] }
        guard !words.isEmpty else { return }
        let answers = try ask(words.map { $0.map { RedisWord(word: $0) } }, until: deadline)
        if servers.database != 0, case .error(let text) = answers[0] { throw RedisError(reason: text) }
        guard isAlone else { return }
        // A user without permission gets an error here; the check is skipped then.
        if let text = answers[answers.count - 2].bytes, Self.isCluster(text) { throw .cluster }
        if mustBePrimary, let role = answers[answers.count - 1].array?.first?.bytes, role != Array("master".utf8) {
            throw RedisError(reason: "it is not the primary")
        }
    }

    /// A cluster of one node holds all keys, so it is usable.
    private static func isCluster(_ info: [UInt8]) -> Bool {
        for line in info.split(separator: UInt8(ascii: "\n")) where line.starts(with: "cluster_size:".utf8) {
            let digits = line.dropFirst("cluster_size:".utf8.count).prefix { (48...57).contains($0) }
            return (Int(String(decoding: digits, as: UTF8.self)) ?? 0) > 1
        }
        return false
    }

    private func authenticate(_ user: String?, _ password: String, _ deadline: Int64) throws(RedisError) {
        let words = (user.map { ["AUTH", $0, password] } ?? ["AUTH", password]).map { RedisWord(word: $0) }
        if case .error(let text) = try ask([words], until: deadline)[0] { throw RedisError(reason: text) }
    }

    // MARK: Writing

    var hasUnsent: Bool { sent < unsent.count }

    func append(_ words: [RedisWord]) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(words.reduce(16) { $0 + $1.count + 16 })
        bytes += Array("*\(words.count)\r\n".utf8)
        for word in words {
            bytes += Array("$\(word.count)\r\n".utf8)
            bytes += word
            bytes += [13, 10]
        }
        if let tls {
            // A failed encryption shows at the next read.
            try? tls.write(bytes)
            unsent += tls.drain()
        } else {
            unsent += bytes
        }
    }

    /// Writes as much as the socket accepts.
    func flush() throws(RedisError) {
        while sent < unsent.count {
            let count = unsent.withUnsafeBytes { bytes in
                send(descriptor, bytes.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                sent += count
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                throw RedisError(reason: String(cString: strerror(errno)))
            }
        }
        unsent.removeAll(keepingCapacity: unsent.count < 1 << 16)
        sent = 0
    }

    private func flush(until deadline: Int64) throws(RedisError) {
        try flush()
        while hasUnsent {
            try wait(for: POLLIN | POLLOUT, deadline)
            // Read as well: a server that waits for us to read would block forever.
            try receive()
            try flush()
        }
    }

    private func wait(for events: Int32, _ deadline: Int64) throws(RedisError) {
        var waiting = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while true {
            let left = deadline - monotonicMilliseconds()
            guard left > 0 else { throw RedisError(reason: "no answer in time") }
            if poll(&waiting, 1, Int32(clamping: left)) > 0 { return }
        }
    }

    // MARK: Reading

    func ask(_ commands: [[RedisWord]], timeout: Int) throws(RedisError) -> [RedisValue] {
        try ask(commands, until: monotonicMilliseconds() + Int64(timeout))
    }

    func ask(_ commands: [[RedisWord]], until deadline: Int64) throws(RedisError) -> [RedisValue] {
        let allowed = deadline - monotonicMilliseconds()
        for words in commands { append(words) }
        try flush(until: deadline)
        return try answers(commands.count, allowed: allowed, until: deadline)
    }

    /// Sends commands; the caller reads their ``answers(_:timeout:)``.
    func post(_ commands: [[RedisWord]], timeout: Int) throws(RedisError) {
        for words in commands { append(words) }
        try flush(until: monotonicMilliseconds() + Int64(timeout))
    }

    func answers(_ count: Int, timeout: Int) throws(RedisError) -> [RedisValue] {
        try answers(count, allowed: Int64(timeout), until: monotonicMilliseconds() + Int64(timeout))
    }

    private func answers(_ count: Int, allowed: Int64, until deadline: Int64) throws(RedisError) -> [RedisValue] {
        var values: [RedisValue] = []
        values.reserveCapacity(count)
        var limit = deadline
        while values.count < count {
            if let value = try withReply({ RedisValue($0) }) {
                values.append(value)
                // The time limit starts again with each answer, since each shows that Redis is working.
                limit = monotonicMilliseconds() + allowed
            } else {
                try wait(for: POLLIN, limit)
                try receive()
            }
        }
        return values
    }

    /// Reads what has arrived, at most 16 KiB.
    func receive() throws(RedisError) {
        let count = try receiveBytes()
        guard count > 0 else { return }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        guard let tls else { return feed(bytes) }
        tls.feed(bytes)
        do throws(TLSError) {
            while true {
                let count = try tls.read(into: buffer)
                guard count > 0 else { break }
                feed(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
        } catch { throw RedisError(reason: error.description) }
        unsent += tls.drain()
    }

    private func feed(_ bytes: UnsafeRawBufferPointer) {
        redisReaderFeed(reader, bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
    }

    /// Returns 0 when nothing is there.
    private func receiveBytes() throws(RedisError) -> Int {
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return count }
            if count == 0 { throw RedisError(reason: "Server closed the connection") }
            if errno == EAGAIN { return 0 }
            if errno != EINTR { throw RedisError(reason: String(cString: strerror(errno))) }
        }
    }

    /// Passes the next complete reply to `body`; nil when none is complete.
    func withReply<R>(_ body: (UnsafeMutablePointer<redisReply>) -> R) throws(RedisError) -> R? {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &reply) == REDIS_OK else {
            throw RedisError(reason: "an answer that cannot be read")
        }
        guard let reply else { return nil }
        defer { freeReplyObject(reply) }
        return body(reply.assumingMemoryBound(to: redisReply.self))
    }
}

private func text(_ reply: UnsafeMutablePointer<redisReply>) -> String {
    guard let start = reply.pointee.str else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: start, count: Int(reply.pointee.len)), as: UTF8.self)
}

extension redisReply {
    fileprivate var copiedBytes: [UInt8] {
        guard let str else { return [] }
        return Array(UnsafeRawBufferPointer(start: str, count: Int(len)))
    }
}

extension RedisValue {
    init(_ reply: UnsafeMutablePointer<redisReply>) {
        switch reply.pointee.type {
        case REDIS_REPLY_STRING: self = .bytes(reply.pointee.copiedBytes)
        case REDIS_REPLY_STATUS: self = .status(text(reply))
        case REDIS_REPLY_ERROR: self = .error(text(reply))
        case REDIS_REPLY_INTEGER: self = .int(reply.pointee.integer)
        case REDIS_REPLY_ARRAY:
            self = .array((0..<Int(reply.pointee.elements)).map { RedisValue(reply.pointee.element[$0]!) })
        default: self = .null
        }
    }
}

extension RedisSubscription.SubscriptionEvent {
    init?(_ reply: UnsafeMutablePointer<redisReply>) {
        if reply.pointee.type == REDIS_REPLY_ERROR {
            self = .refused(text(reply))
            return
        }
        // Without a channel Redis answers a ping like any other connection's.
        if reply.pointee.type == REDIS_REPLY_STATUS, text(reply) == "PONG" {
            self = .pong
            return
        }
        let reply = reply.pointee
        guard reply.type == REDIS_REPLY_ARRAY, reply.elements >= 2, let kind = reply.element[0],
            let channel = reply.element[1]
        else {
            return nil
        }
        switch text(kind) {
        case "message" where reply.elements == 3, "smessage" where reply.elements == 3:
            guard let payload = reply.element[2] else { return nil }
            self = .message(channel: text(channel), payload: payload.pointee.copiedBytes)
        case "subscribe", "ssubscribe": self = .subscribed(channel: text(channel))
        case "unsubscribe", "sunsubscribe": self = .unsubscribed(channel: text(channel))
        case "pong": self = .pong
        default: return nil
        }
    }
}
