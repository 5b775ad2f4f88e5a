import ChatCore

/// A route, for the host application's keys and the audit log.
struct Operation {
    /// Such as "GET /rooms/{id}".
    let name: String
    /// Such as "/rooms/{id}".
    let route: String
    /// The scope that a key needs; nil: the route is open to everybody and ignores keys.
    let scope: KeyScope?
    /// One of the host's own endpoints.
    let isAdmin: Bool
    /// A key need not name a user here: at the host's own endpoints, and where the host describes users or reads their
    /// descriptions.
    let isForHost: Bool

    init(_ method: String, _ pattern: String) {
        name = "\(method) \(pattern)"
        route = pattern
        isAdmin = pattern.utf8.starts(with: "/admin/".utf8)
        isForHost =
            isAdmin || (["PUT", "PATCH"].contains(method) && pattern == "/users/{id}")
            || (method, pattern) == ("GET", "/users")
        scope = Self.scope(method, pattern, isAdmin)
    }

    /// A route that is not named here needs `write`, or `admin` below `/admin`.
    private static func scope(_ method: String, _ pattern: String, _ isAdmin: Bool) -> KeyScope? {
        switch (method, pattern) {
        case ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.yaml"),
            ("GET", "/asyncapi.yaml"), ("GET", "/docs"), ("GET", "/files/stored/{folder}/{id}"),
            ("OPTIONS", "/files/tus"), ("DELETE", "/session"):
            return nil
        case ("GET", "/admin/rooms/{id}/export"): return .read
        case ("POST", "/admin/rooms"), ("POST", "/admin/rooms/{id}/members"), ("POST", "/admin/rooms/{id}/messages"):
            return .write
        case ("DELETE", "/admin/rooms/{id}"), ("DELETE", "/admin/rooms/{id}/members/{user}"),
            ("GET", "/admin/reports"), ("PATCH", "/admin/reports/{id}"):
            return .moderate
        case _ where isAdmin: return .admin
        case ("GET", _): return .read
        default: return .write
        }
    }
}
