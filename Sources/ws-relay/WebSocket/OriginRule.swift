import ChatCore

/// The pages that may open a socket. The token is the protection: a foreign page does not have it, and cookies are
/// ignored here. A list restricts it further.
struct OriginRule: Sendable {
    /// `WS_ORIGINS`, such as `https://chat.example.org`. Empty, or with `*`: every page.
    let allowed: [String]

    init(_ allowed: [String]) { self.allowed = allowed.map { asciiLowercased($0) } }

    /// A client without `Origin` is not a browser. A page of the relay's own host is always allowed.
    func admits(origin: String?, host: String?) -> Bool {
        guard !allowed.isEmpty, !allowed.contains("*"), let origin = origin.map({ asciiLowercased($0) }) else {
            return true
        }
        if allowed.contains(where: { areSameBytes($0, origin) }) { return true }
        return isOwn(origin: origin, host: host)
    }

    /// Whether it is a page of the host itself, or not a browser.
    func isOwn(origin: String?, host: String?) -> Bool {
        guard let origin = origin.map({ asciiLowercased($0) }) else { return true }
        guard let host = host.map({ asciiLowercased($0) }) else { return false }
        return areSameBytes(origin, "https://" + host) || areSameBytes(origin, "http://" + host)
    }
}
