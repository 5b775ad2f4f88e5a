import ChatCore

extension KeyScope {
    /// The scope that a route needs of a key; nil: the route is open to everybody, and a key means nothing to it.
    ///
    /// A new route of users needs `write`, and a new one of `/admin` needs `admin`, until it is named here.
    ///
    /// - Parameter pattern: such as "/rooms/{id}".
    static func needed(by method: String, _ pattern: String) -> KeyScope? {
        let isAdmin = pattern.utf8.starts(with: "/admin/".utf8)
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
