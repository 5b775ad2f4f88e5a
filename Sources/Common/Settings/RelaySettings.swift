public struct RelaySettings: Sendable {
    /// `unix:/path` or `host:port`; all processes accept from it.
    public var listen: String
    public var processes: Int
    /// Bytes of one message from a client.
    public var maxFrame: Int
    /// Origins whose pages may connect; empty or `*`: any (the token protects).
    public var origins: [String]
    /// Between two pings. Whole seconds.
    public var heartbeat: Duration
    /// A socket is closed when its client sends nothing for longer. Whole seconds.
    public var idleTimeout: Duration
    /// Limits of the bytes that wait for a client, and of the time. Beyond them the client is told where to resume, and
    /// its socket is closed.
    public var outboxBytes: Int
    public var outboxTimeout: Duration
    public var maxConnections: Int
    public var maxConnectionsPerUser: Int
    /// 0: no limit.
    public var maxConnectionsPerAddress: Int
    /// permessage-deflate, for clients that offer it.
    public var deflate: Bool
    /// Upgrades per second, for all clients together.
    public var handshakeRate: Int
    /// A relay that ends for good spreads its closes over this time.
    public var drainTime: Duration
    /// Commands per second that one socket may send, and its burst.
    public var rate: Int
    public var burst: Int
    /// After `welcome` a socket's frames wait this long for its `resume`; another request ends the wait.
    public var resumeGrace: Duration

    init(_ values: inout SettingsReader, runDirectory: String) {
        listen = values.text("WS_LISTEN", default: "unix:\(runDirectory)/ws-relay.sock")
        processes = values.number("WS_PROCESSES", default: 1, in: 1...256)
        maxFrame = values.number("WS_MAX_FRAME", default: 65_536, in: 1024...16_777_216)
        origins = values.list("WS_ORIGINS")
        heartbeat = values.seconds("WS_HEARTBEAT", default: 30, in: 1...3600)
        idleTimeout = values.seconds("WS_IDLE_SECONDS", default: 90, in: 2...86_400)
        if idleTimeout <= heartbeat {
            values.problem(
                "WS_IDLE_SECONDS=\(idleTimeout.seconds) is not above WS_HEARTBEAT=\(heartbeat.seconds): every quiet socket would be closed"
            )
        }
        outboxBytes = values.number("WS_OUTBOX_BYTES", default: 1_048_576, in: 65_536...1_073_741_824)
        outboxTimeout = values.seconds("WS_OUTBOX_SECONDS", default: 30, in: 1...3600)
        maxConnections = values.number("WS_MAX_CONNECTIONS", default: 18_000, in: 1...1_000_000)
        maxConnectionsPerUser = values.number("WS_MAX_CONNECTIONS_PER_USER", default: 20, in: 1...10_000)
        maxConnectionsPerAddress = values.number("WS_MAX_CONNECTIONS_PER_ADDRESS", default: 0, in: 0...1_000_000)
        deflate = values.choice("WS_DEFLATE", ["off", "on"], default: "off") == "on"
        handshakeRate = values.number("WS_HANDSHAKE_RATE", default: 3000, in: 1...1_000_000)
        drainTime = values.seconds("WS_DRAIN_SECONDS", default: 2, in: 0...600)
        rate = values.number("WS_RATE", default: 1000, in: 1...1_000_000)
        burst = values.number("WS_BURST", default: 5000, in: 1...1_000_000)
        resumeGrace = values.milliseconds("WS_RESUME_GRACE_MS", default: 250, in: 0...10_000)
    }
}
