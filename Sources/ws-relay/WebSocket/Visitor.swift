/// The purpose of a new connection, according to its head.
enum Visitor: Equatable, Sendable {
    case client(Wish)
    case health
    /// `/readyz`: whether new sockets should come here.
    case readiness
    /// The answer to a CORS preflight.
    case preflight([UInt8])
    case refused(HTTPRefusal)

    init(_ headBytes: [UInt8], origins: OriginRule, deflates: Bool = false) {
        do {
            self = try Self.route(try RequestHead(parsing: headBytes), origins, deflates)
        } catch let malformed as RequestHead.Malformed {
            self = .refused(.malformed(malformed.why))
        } catch {
            self = .refused(error as? HTTPRefusal ?? .malformed("unreadable"))
        }
    }

    private static func route(_ head: RequestHead, _ origins: OriginRule, _ deflates: Bool) throws -> Visitor {
        switch head.path {
        case Upgrade.path: return .client(.socket(try Upgrade(head, origins: origins, deflates: deflates)))
        case let path where EventsRequest.paths.contains(path):
            if let answer = try EventsRequest.preflight(head, origins: origins) { return .preflight(answer) }
            return .client(.events(try EventsRequest(head, origins: origins)))
        case "/healthz":
            guard head.method == "GET" else { throw HTTPRefusal.methodNotAllowed }
            return .health
        case "/readyz":
            guard head.method == "GET" else { throw HTTPRefusal.methodNotAllowed }
            return .readiness
        default: throw HTTPRefusal.notFound
        }
    }
}

/// A client's request, until it is accepted.
enum Wish: Equatable, Sendable {
    case socket(Upgrade)
    case events(EventsRequest)

    var credential: Upgrade.Credential {
        switch self {
        case .socket(let upgrade): upgrade.credential
        case .events(let request): request.credential
        }
    }

    /// Headers with which a page of another origin may read a refusal.
    var pageHeaders: [String] {
        switch self {
        case .socket: []
        case .events(let request): request.pageHeaders
        }
    }

    var forwardedFor: String? {
        switch self {
        case .socket(let upgrade): upgrade.forwardedFor
        case .events(let request): request.forwardedFor
        }
    }
}
