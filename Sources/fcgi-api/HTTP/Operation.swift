import ChatCore

/// A route, as keys of the host application and the audit log see it.
struct Operation {
    /// Such as "GET /rooms/{id}".
    let name: String
    /// Such as "/rooms/{id}".
    let route: String
    /// The scope that it needs of a key; nil: it is open to everybody, and a key means nothing to it.
    let scope: KeyScope?
    /// One of the host's own endpoints.
    let isAdmin: Bool
    /// A key need act for no user here: the host's own endpoints, and those on which it says or reads what users are.
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

    /// A new route of users needs `write`, and a new one of `/admin` needs `admin`, until it is named here.
    private static func scope(_ method: String, _ pattern: String, _ isAdmin: Bool) -> KeyScope? {
        switch (method, pattern) {
        case ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.yaml"),
            ("GET", "/asyncapi.yaml"), ("GET", "/docs"), ("GET", "/files/stored/{folder}/{id}"),
            ("OPTIONS", "/files/tus"), ("DELETE", "/session"):
            return nil
        case ("GET", "/admin/rooms/{id}/export"): return .read
        case ("POST", "/admin/rooms"), ("POST", "/admin/rooms/{id}/members"), ("POST", "/admin/rooms/{id}/messages"):
            return .write
        case ("DELETE", "/admin/rooms/{id}"), ("DELETE", "/admin/rooms/{id}/members/{user}"): return .moderate
        case _ where isAdmin: return .admin
        case ("GET", _): return .read
        default: return .write
        }
    }
}
