/// The servers in REDIS_URL: one Redis, several of which one is the primary, Sentinels that know the primary, or nodes
/// of a cluster.
public struct RedisServers: Sendable {
    public enum Way: Sendable {
        case socket(path: String)
        case hosts([ServerURL.Host])
        case sentinels([ServerURL.Host], master: String)
        /// Some of the nodes; they name the others.
        case cluster([ServerURL.Host])
    }

    public let way: Way
    public var isCluster: Bool { if case .cluster = way { true } else { false } }
    /// Nil: the default user.
    public private(set) var user: String?
    public private(set) var password: String?
    public private(set) var sentinelUser: String?
    public private(set) var sentinelPassword: String?
    public private(set) var database = 0
    public private(set) var isTLS = false
    public private(set) var files = TLSFiles()

    private static let parameters: Set<String> = [
        "cacertfile", "certfile", "keyfile", "sentinel_user", "sentinel_password",
    ]

    /// - Parameter text: `redis://[[user]:password@]host[:port][,host…][/db]`, `rediss://` for TLS,
    ///   `redis+sentinel://[[user]:password@]sentinel[:port][,sentinel…]/master[/db]` (or `rediss+sentinel://`),
    ///   `redis+cluster://[[user]:password@]node[:port][,node…]` (or `rediss+cluster://`), or `unix:///path[?db=N]`.
    ///   The query may contain `cacertfile`, `certfile`, `keyfile` (PEM files for TLS), and `sentinel_user`,
    ///   `sentinel_password`.
    public init(_ text: String) throws(ServerURL.Problem) {
        if text.utf8.starts(with: Array("unix://".utf8)) {
            (way, database) = try Self.socket(text)
            return
        }
        let url = try ServerURL(
            text,
            ports: [
                "redis": 6379, "rediss": 6379, "redis+sentinel": 26_379, "rediss+sentinel": 26_379,
                "redis+cluster": 6379, "rediss+cluster": 6379,
            ])
        try url.expectOnly(Self.parameters)
        isTLS = url.scheme.utf8.starts(with: "rediss".utf8)
        files = TLSFiles(authorities: url["cacertfile"], certificate: url["certfile"], key: url["keyfile"])
        // A single word before the @ is the password.
        (user, password) = url.password == nil ? (nil, url.user) : (url.user, url.password)
        if user?.isEmpty == true { user = nil }
        if password?.isEmpty == true { password = nil }
        (sentinelUser, sentinelPassword) = (url["sentinel_user"], url["sentinel_password"])
        var path = Array((url.path ?? "").utf8)[...]
        if url.scheme == "redis+sentinel" || url.scheme == "rediss+sentinel" {
            let parts = path.split(separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first, !name.isEmpty else {
                throw ServerURL.Problem(
                    "the name of the master is missing after the Sentinels: redis+sentinel://host/master")
            }
            way = .sentinels(url.hosts, master: String(decoding: name, as: UTF8.self))
            path = parts.count == 2 ? parts[1] : []
        } else if url.scheme == "redis+cluster" || url.scheme == "rediss+cluster" {
            way = .cluster(url.hosts)
        } else {
            way = .hosts(url.hosts)
        }
        database = try Self.database(String(decoding: path, as: UTF8.self))
        if isCluster, database != 0 { throw ServerURL.Problem("a cluster has only the database 0") }
    }

    private static func socket(_ text: String) throws(ServerURL.Problem) -> (Way, Int) {
        let parts = text.utf8.dropFirst("unix://".utf8.count).split(separator: UInt8(ascii: "?"), maxSplits: 1)
        guard let path = parts.first.flatMap({ String($0) }), path.utf8.first == UInt8(ascii: "/") else {
            throw ServerURL.Problem("a unix socket is written unix:///path")
        }
        guard path.utf8.count < 108 else { throw ServerURL.Problem("the path of a unix socket has at most 107 bytes") }
        guard parts.count == 2 else { return (.socket(path: path), 0) }
        guard parts[1].starts(with: "db=".utf8) else {
            throw ServerURL.Problem("only db=N is allowed after the ? of a unix socket")
        }
        return (.socket(path: path), try database(String(parts[1].dropFirst(3)) ?? "?"))
    }

    private static func database(_ text: String) throws(ServerURL.Problem) -> Int {
        if text.isEmpty { return 0 }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text) else {
            throw ServerURL.Problem("the database after the last slash is not a number")
        }
        return number
    }

    /// Adds these files to the URL if it uses TLS and does not name others.
    static func naming(_ files: TLSFiles, in text: String) -> String {
        guard let servers = try? RedisServers(text), servers.isTLS else { return text }
        var named = text
        for (name, file, own) in [
            ("cacertfile", files.authorities, servers.files.authorities),
            ("certfile", files.certificate, servers.files.certificate), ("keyfile", files.key, servers.files.key),
        ] {
            guard let file, own == nil else { continue }
            named += "\(named.utf8.contains(UInt8(ascii: "?")) ? "&" : "?")\(name)=\(encode(file))"
        }
        return named
    }

    private static func encode(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default: encoded += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return encoded
    }
}
