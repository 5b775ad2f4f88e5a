import ChatCore

/// Maps method and path to a handler. There are few routes: a linear search costs less than a request's first read.
struct Router {
    typealias Handler = (Call) throws(Refusal) -> Response

    private struct Route {
        let method: String
        let pattern: [Substring]
        let handle: Handler
        let literals: Int

        init(_ method: String, _ pattern: String, _ handle: @escaping Handler) {
            self.method = method
            self.pattern = pieces(of: pattern, at: UInt8(ascii: "/"))
            self.handle = handle
            literals = self.pattern.count { !$0.hasPrefix("{") }
        }
    }

    /// Fixed segments come before placeholders: "/rooms/join" is not the room "join".
    private var routes: [Route] = []
    private let authenticate: (Call) throws(Refusal) -> Void
    private let admit: (Call) throws(Refusal) -> Void

    /// - Parameters:
    ///   - authenticate: refuses a request without a valid user.
    ///   - admit: called first, also for open routes: takes a key of the host application, if there is one.
    init(
        authenticate: @escaping (Call) throws(Refusal) -> Void,
        admit: @escaping (Call) throws(Refusal) -> Void = { _ throws(Refusal) in }
    ) {
        self.authenticate = authenticate
        self.admit = admit
    }

    /// - Parameters:
    ///   - pattern: such as "/rooms/{id}/messages".
    ///   - open: allows requests without a token; others are refused before anything of the request is read.
    ///   - query: the allowed parameters; nil: any. An unknown one is refused, so that a misspelt one does not silently
    ///     change the answer.
    mutating func on(
        _ method: String, _ pattern: String, open: Bool = false, query: [String]? = [], _ handle: @escaping Handler
    ) {
        let operation = Operation(method, pattern)
        let handle: Handler = { [authenticate, admit] call throws(Refusal) in
            call.operation = operation
            try admit(call)
            if !open { try authenticate(call) }
            if let query { try call.request.query.refuse(except: query) }
            return try handle(call)
        }
        let route = Route(method, pattern, handle)
        routes.insert(route, at: routes.firstIndex { $0.literals < route.literals } ?? routes.endIndex)
    }

    /// The handler and the decoded values of `{…}`. HEAD is handled as GET; nginx drops the body.
    func find(_ method: String, _ path: String) throws(Refusal) -> (Handler, [String: String]) {
        let segments = pieces(of: path, at: UInt8(ascii: "/"))
        // nginx may have merged two slashes when it chose the pool, other servers do not: only one spelling is
        // accepted.
        guard path.firstRange(of: "//") == nil else { throw Refusal(.notFound, "there is nothing at this address") }
        let method = method == "HEAD" ? "GET" : method
        var allowed: [String] = []
        var literals = 0
        for route in routes where Router.matches(route.pattern, segments) {
            if route.literals < literals { break }
            literals = route.literals
            guard route.method == method else {
                allowed.append(route.method)
                continue
            }
            var values: [String: String] = [:]
            for (name, segment) in zip(route.pattern, segments) where name.hasPrefix("{") {
                values[String(name.dropFirst().dropLast())] = try percentDecoded(segment)
            }
            return (route.handle, values)
        }
        guard allowed.isEmpty else { throw .methodNotAllowed(allowed) }
        throw Refusal(.notFound, "there is nothing at this address")
    }

    private static func matches(_ pattern: [Substring], _ segments: [Substring]) -> Bool {
        pattern.count == segments.count
            && zip(pattern, segments).allSatisfy { areSameBytes($0, $1) || $0.hasPrefix("{") }
    }
}

extension Refusal {
    private static let allowedHere = "allowed here: "

    static func methodNotAllowed(_ methods: [String]) -> Refusal {
        let all = methods.contains("GET") ? methods + ["HEAD"] : methods
        return Refusal(.methodNotAllowed, allowedHere + all.sorted().joined(separator: ", "))
    }

    /// The Allow header, which RFC 9110 requires for a 405.
    var allow: String? { code == .methodNotAllowed ? String(message.dropFirst(Refusal.allowedHere.count)) : nil }
}
