import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess
import Glibc

/// The parts of nginx's files that differ when one nginx serves several hosts.
extension NginxFiles {
    /// Names and addresses, IPv6 in brackets.
    static func checked(hosts text: String) throws -> [String] {
        guard !text.isEmpty else { return [] }
        let hosts = try pieces(of: text, at: UInt8(ascii: ","), omittingEmpty: false).map { host in
            guard isHost(String(host)) else {
                throw OperatorError("--hosts takes names or addresses such as 10.0.0.1,10.0.0.2, IPv6 as [2001:db8::1]")
            }
            return String(host)
        }
        if let twice = hosts.first(where: { host in hosts.count { areSameBytes($0, host) } > 1 }) {
            throw OperatorError("--hosts has \(twice) twice")
        }
        return hosts
    }

    private static func isHost(_ text: String) -> Bool {
        func isOfName(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        let bytes = text.utf8
        guard bytes.first == UInt8(ascii: "[") else {
            guard let first = bytes.first, let last = bytes.last else { return false }
            return isOfName(first) && isOfName(last) && bytes.allSatisfy { isOfName($0) || ".-".utf8.contains($0) }
        }
        var address = in6_addr()
        return bytes.last == UInt8(ascii: "]")
            && inet_pton(AF_INET6, String(Substring(bytes.dropFirst().dropLast())), &address) == 1
    }

    /// A unix socket cannot be reached from another host.
    func checkPorts() throws {
        guard !hosts.isEmpty else { return }
        let listens = pools.map { ("the pool \($0.name)", $0.listen) } + [("WS_LISTEN", settings.relay.listen)]
        for (name, listen) in listens where port(listen) == nil {
            throw OperatorError("--hosts needs a port: \(name) listens on \(listen), give it host:port")
        }
    }

    /// The lines of an upstream. A unix socket is listed twice, so that nginx tries again when a worker dies. Each host
    /// is listed once, and a failing host gets no requests for a second. With `zone` nginx's workers share this
    /// knowledge.
    ///
    /// - Parameter isLasting: the requests are WebSockets. nginx forgets a failure only when a later request to that host
    ///   ends, and sends the host one request a second until then. So no failure is noted: each new socket that meets a
    ///   failed host goes to the next one.
    func servers(_ upstream: String, _ listen: String, isLasting: Bool = false) -> String {
        guard !hosts.isEmpty, let port = port(listen) else {
            let line = "  server \(Self.server(listen)) max_fails=0;\n"
            return line + line
        }
        return "  zone \(upstream) 64k;\n"
            + hosts.map { "  server \($0):\(port) \(isLasting ? "max_fails=0" : "max_fails=1 fail_timeout=1s");\n" }
            .joined()
    }

    /// After a second without a connection nginx tries the next host. A request that was sent is not repeated after a
    /// slow answer, since it may go to another host only within five seconds. A frozen host accepts connections: its
    /// requests must fail before the clients give up, or nginx does not notice. A command is answered within five seconds.
    func impatient(_ text: String) -> String {
        text.replacing("fastcgi_connect_timeout 5s;", with: "fastcgi_connect_timeout 1s;")
            .replacing(
                "proxy_connect_timeout 5s;",
                with: """
                    proxy_connect_timeout 1s;
                    # 503: this host is drained, or full. The next one takes the client.
                    proxy_next_upstream error timeout http_503;
                    """
            )
            .replacing("fastcgi_read_timeout 60s;", with: "fastcgi_read_timeout 8s;")
            .replacing(
                "fastcgi_next_upstream error invalid_header;",
                with: "fastcgi_next_upstream error timeout invalid_header;\nfastcgi_next_upstream_timeout 5s;")
    }

    /// Replaces the shipped comments, which are about the sockets of one machine.
    static func commented(forHosts text: String) -> String {
        guard let begin = text.firstRange(of: "# - Each socket is listed twice"),
            let end = text[begin.lowerBound...].firstRange(of: "# - No `keepalive`")
        else { return text }
        var text = text
        text.replaceSubrange(
            begin.lowerBound..<end.lowerBound,
            with: """
                # - Each host is listed once. A failing host gets no requests for a second (max_fails, fail_timeout), and a GET
                #   goes to another one. `zone`: nginx's workers share the state of the hosts.
                # - max_fails=0 for ws-relay: nginx would forget a failure only when a later request ends, and a WebSocket
                #   lasts. A new one that meets a failed or drained host goes to the next one.

                """)
        return text
    }

    private func port(_ listen: String) -> UInt16? {
        guard case .tcp(_, let port)? = try? ListenAddress(parsing: listen) else { return nil }
        return port
    }
}
