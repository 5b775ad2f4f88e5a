import CFCGI
import CLinux
import ChatCore
import ChatProcess
import Glibc

/// A worker's loop: accept a connection, read one request, answer it, close.
///
/// It accepts connections itself, because libfcgi's signal handling loses the rest of a body. It also wakes on the
/// channel to the master, and drops connections whose client has left before their turn.
final class FastCGI {
    /// For one read from nginx or one write to it. nginx buffers both ways, so a slower one means a dead nginx.
    private static let socketTimeout = Duration.seconds(30)
    /// Less than the master waits before it kills a worker that was told to stop.
    private static let lastTimeout = Duration.seconds(10)
    /// For refusing the clients that are left.
    private static let refusalTimeout = Duration.seconds(2)

    private let channel: WorkerChannel
    private let connection: UnsafeMutablePointer<FCGX_Request>
    private let poller: Int32

    /// Call this after `WorkerChannel.fromEnvironment`: libfcgi keeps existing signal handlers.
    init(_ channel: WorkerChannel) throws {
        self.channel = channel
        connection = .allocate(capacity: 1)
        guard FCGX_Init() == 0, FCGX_InitRequest(connection, -1, 0) == 0 else {
            throw OperatorError("libfcgi cannot be initialised")
        }
        poller = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard poller >= 0 else { throw SystemError("make an epoll descriptor") }
        try watch(channel.fileDescriptor, EPOLLIN.rawValue)
        // Exclusive: a new connection wakes one idle worker instead of all.
        for listener in channel.listeners { try watch(listener, EPOLLIN.rawValue | EPOLLEXCLUSIVE.rawValue) }
    }

    private func watch(_ descriptor: Int32, _ events: UInt32) throws {
        var event = epoll_event()
        event.events = events
        event.data.fd = descriptor
        guard epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) == 0 else { throw SystemError("watch a socket") }
    }

    /// Runs until the master says quit. `everySecond` is called between requests, busy or not.
    func run(_ answer: (Request) -> Response, refused: (Refusal) -> Response, everySecond: () -> Void) {
        var events = [epoll_event](repeating: epoll_event(), count: 8)
        var nextChore: Nanoseconds = 0
        while true {
            let count = epoll_wait(poller, &events, Int32(events.count), 1000)
            let now = monotonicNow()
            if now >= nextChore {
                nextChore = now + 1_000_000_000
                channel.scoreboard.heartbeat(at: now)
                everySecond()
            }
            for event in events.prefix(Int(max(0, count))) {
                if event.data.fd == channel.fileDescriptor {
                    guard channel.mustQuit else { continue }
                    if channel.isLast {
                        answerTheLast(answer, refused)
                    }
                    return
                } else {
                    accept(event.data.fd, answer, refused)
                }
            }
        }
    }

    /// Answers the clients that are connected already, since no other worker can. The time is limited, because clients
    /// may still connect to a TCP socket. Clients for whom no time is left are told to try again; the next pool of
    /// their route will answer.
    private func answerTheLast(_ answer: (Request) -> Response, _ refused: (Refusal) -> Response) {
        let end = monotonicNow() + FastCGI.lastTimeout.nanoseconds
        for listener in channel.listeners {
            while monotonicNow() < end, accept(listener, answer, refused) {}
        }
        let busy = Refusal(.busy, "this worker ends; try again", field: nil, retryAfterMilliseconds: 1000)
        let last = max(end, monotonicNow()) + FastCGI.refusalTimeout.nanoseconds
        for listener in channel.listeners {
            while monotonicNow() < last, accept(listener, { _ in refused(busy) }, refused) {}
        }
    }

    /// False: no client waits.
    @discardableResult
    private func accept(_ listener: Int32, _ answer: (Request) -> Response, _ refused: (Refusal) -> Response) -> Bool {
        // Another worker may have accepted it first.
        let client = chat_accept4(listener, Int32(SOCK_CLOEXEC.rawValue))
        guard client >= 0 else { return false }
        guard !isGone(client) else {
            _ = close(client)
            return true
        }
        var limit = timeval(tv_sec: Int(FastCGI.socketTimeout.seconds), tv_usec: 0)
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        connection.pointee.ipcFd = client
        // Without this, FCGX_Accept_r begins by closing the connection.
        connection.pointee.keepConnection = 1
        guard SlowReport.withoutSignal({ FCGX_Accept_r(connection) }) == 0 else { return true }
        let response = respond(answer, refused)
        drain()
        // Written and closed here: libfcgi needs a system call for each 8 KiB and four more for the end. One request
        // per connection: a kept one would pin this worker while others wait.
        send(response.records(of: UInt16(truncatingIfNeeded: connection.pointee.requestId)), to: client)
        FCGX_Free(connection, 0)
        _ = close(client)
        return true
    }

    private func respond(_ answer: (Request) -> Response, _ refused: (Refusal) -> Response) -> Response {
        do throws(Refusal) { return answer(try request()) } catch { return refused(error) }
    }

    /// Gives up when nginx is gone or reads nothing for `socketSeconds`: the answer has no receiver then.
    private func send(_ bytes: [UInt8], to client: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                Glibc.send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if sent > 0 {
                rest = rest.dropFirst(sent)
            } else if errno != EINTR {
                var state = pollfd(fd: client, events: Int16(POLLOUT), revents: 0)
                guard errno == EAGAIN else { return }
                let ready = poll(&state, 1, Int32(FastCGI.socketTimeout.milliseconds))
                guard ready > 0 || ready < 0 && errno == EINTR else { return }
            }
        }
    }

    /// nginx answers 502 when a worker answers before it has read the whole body.
    private func drain() {
        withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { buffer in
            while FCGX_GetStr(buffer.bindMemory(to: CChar.self).baseAddress, 65_536, connection.pointee.in) == 65_536 {}
        }
    }

    private func request() throws(Refusal) -> Request {
        let connection = connection
        let parameter: (String) -> String? = { name in
            name.utf8.starts(with: "HTTP_".utf8)
                ? FastCGI.header(name, connection.pointee.envp)
                : FCGX_GetParam(name, connection.pointee.envp).map { String(cString: $0) }
        }
        // A repaired text differs from the client's, so it must not be stored or looked up.
        for name in ["REQUEST_URI", "HTTP_IDEMPOTENCY_KEY"] {
            guard let value = FCGX_GetParam(name, connection.pointee.envp) else { continue }
            guard String(validatingCString: value) != nil else {
                throw Refusal(.malformed, "the address or a header is not UTF-8")
            }
        }
        let read: (UnsafeMutableRawBufferPointer) -> Int = { buffer in
            let room = Int32(min(buffer.count, 1 << 20))
            let start = buffer.bindMemory(to: CChar.self).baseAddress
            return SlowReport.withoutSignal { Int(max(0, FCGX_GetStr(start, room, connection.pointee.in))) }
        }
        let request = try Request(parameter: parameter, read: read)
        guard request.contentLength == 0, !["GET", "HEAD", "OPTIONS"].contains(request.method) else { return request }
        return try request.withUnmeasuredBody()
    }

    /// nginx passes a repeated header as several parameters. They form one list (RFC 9110, 5.3). If only the first were
    /// read, a proxy in front of us could see another user than this program.
    private static func header(_ name: String, _ all: FCGX_ParamArray?) -> String? {
        guard var entry = all else { return nil }
        var values: [String] = []
        let start = "\(name)="
        start.withCString { start in
            let length = strlen(start)
            while let text = entry.pointee {
                if strncmp(text, start, length) == 0 { values.append(String(cString: text + length)) }
                entry += 1
            }
        }
        return values.isEmpty ? nil : values.joined(separator: name == "HTTP_COOKIE" ? "; " : ", ")
    }

    /// nginx closes its end when its client has given up. Under load there are many, and none needs an answer.
    private func isGone(_ client: Int32) -> Bool {
        var state = pollfd(fd: client, events: 0, revents: 0)
        return poll(&state, 1, 0) > 0 && state.revents & Int16(POLLHUP | POLLERR) != 0
    }
}
