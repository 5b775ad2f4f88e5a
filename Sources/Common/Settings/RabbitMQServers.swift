/// The brokers in RABBITMQ_URL: nodes of one cluster, any of which will do.
public struct RabbitMQServers: Sendable {
    public struct Server: Sendable {
        public let host: ServerURL.Host
        public let isTLS: Bool
        public let user: String
        public let password: String
        public let vhost: String
    }

    public let all: [Server]

    /// - Parameter text: `amqp://user:password@host:port,host:port/vhost`, or several such URLs separated by commas.
    public init(_ text: String) throws(ServerURL.Problem) {
        var servers: [Server] = []
        for url in Self.split(text) {
            let url = try ServerURL(url, ports: ["amqp": 5672, "amqps": 5671])
            try url.expectOnly([])
            // Strictly, a URL that ends in a slash names the vhost ""; people mean the default one.
            let vhost = url.path.flatMap { $0.isEmpty ? nil : $0 } ?? "/"
            servers += url.hosts.map {
                Server(
                    host: $0, isTLS: url.scheme == "amqps", user: url.user ?? "guest",
                    password: url.password ?? "guest", vhost: vhost)
            }
        }
        all = servers
    }

    /// Splits at commas between two URLs, not at those within one.
    private static func split(_ text: String) -> [String] {
        var urls: [[UInt8]] = []
        for part in Array(text.utf8).split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            let begins = ["amqp://", "amqps://"].contains { part.starts(with: Array($0.utf8)) }
            if urls.isEmpty || begins {
                urls.append(Array(part))
            } else {
                urls[urls.count - 1] += [UInt8(ascii: ",")] + part
            }
        }
        return urls.map { String(decoding: $0, as: UTF8.self) }
    }
}
