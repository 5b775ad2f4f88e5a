/// A browser's session at the host application.
public struct HostSession: Sendable, Equatable {
    public var user: HostUser
    public var name: String?
    /// The URL of a picture.
    public var picture: String?
    /// Unix milliseconds: when the host was asked, and until when its answer counts.
    public var askedAt: Int64
    public var freshUntil: Int64

    public init(user: HostUser, name: String? = nil, picture: String? = nil, askedAt: Int64, freshUntil: Int64) {
        self.user = user
        self.name = name
        self.picture = picture
        self.askedAt = askedAt
        self.freshUntil = freshUntil
    }
}

public struct SessionTimes: Sendable {
    /// For how long an answer counts that names no time of its own. Zero: each request asks.
    public var fresh: Duration
    /// For how long an older answer counts while the host cannot be asked. Zero: nobody is let in then.
    public var stale: Duration
    /// How long a socket of a session lives.
    public var socket: Duration

    public init(fresh: Duration, stale: Duration, socket: Duration) {
        (self.fresh, self.stale, self.socket) = (fresh, stale, socket)
    }
}

/// The part of a request that shows whose session it belongs to. Secret: never logged.
public struct SessionQuestion: Sendable {
    /// The value of a `Cookie` header.
    public var cookies: String
    /// Other headers that the settings name.
    public var headers: [(name: String, value: String)]
    /// The client's address as text.
    public var address: String
    /// The client's network: cookies without a session are counted for it.
    public var network: [UInt8]

    public init(cookies: String, headers: [(name: String, value: String)], address: String, network: [UInt8]) {
        self.cookies = cookies
        self.headers = headers
        self.address = address
        self.network = network
    }
}

/// The host application, which knows its sessions.
public protocol SessionCheck: AnyObject {
    /// Names the question in ``SessionCache``: a keyed hash, so that no cookie can be found in the cache.
    func key(of question: SessionQuestion) -> [UInt8]
    /// Nil: no session has these cookies.
    ///
    /// Guarantee: returns within its time limit.
    func session(of question: SessionQuestion) throws(SessionCheckFailure) -> HostSession?
}

/// Why the host gave no answer that can be read.
public struct SessionCheckFailure: Error, CustomStringConvertible {
    public let description: String
    /// The host answered, but not to this question: its answer to others may be good.
    public let concernsQuestion: Bool

    public init(_ description: String, concernsQuestion: Bool = false) {
        self.description = description
        self.concernsQuestion = concernsQuestion
    }
}

/// Answers of the host, for all workers of all machines. A cache that cannot be reached is an empty one.
public protocol SessionCache: AnyObject {
    func find(_ key: [UInt8]) -> HostSession?
    func keep(_ session: HostSession, _ key: [UInt8], for time: Duration)
    func drop(_ key: [UInt8])
}

/// A few places that the workers of a pool share. The places of a process that dies are free.
public protocol SharedPlaces: AnyObject {
    /// False: all are taken.
    func take() -> Bool
    func leave()
}
