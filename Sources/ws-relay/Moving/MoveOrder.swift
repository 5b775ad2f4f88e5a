import ChatCore

/// The operator's order to drain this relay, as `ws-relay drain` writes it and each worker reads it: `RATE WITHIN [URL]`.
struct MoveOrder: Equatable, Sendable {
    static let rates = 1...100_000
    static let times = 5...3600
    /// The control socket takes lines of 256 bytes.
    static let longestURL = 180

    /// Sockets a second, of all workers together.
    var rate = 100
    /// Seconds that a client has after it was told.
    var within = 30
    /// Where clients go; nil: to the address that they came by, which leads to another relay while this one refuses.
    var url: String?

    var text: String { "\(rate) \(within)" + (url.map { " \($0)" } ?? "") }

    init(rate: Int = 100, within: Int = 30, url: String? = nil) {
        (self.rate, self.within, self.url) = (rate, within, url)
    }

    /// Nil: this release does not understand it.
    init?(_ text: String) {
        let parts = pieces(of: text, at: UInt8(ascii: " "))
        guard (2...3).contains(parts.count), let rate = Int(parts[0]), let within = Int(parts[1]),
            Self.rates.contains(rate), Self.times.contains(within)
        else { return nil }
        self.init(rate: rate, within: within, url: parts.count > 2 ? String(parts[2]) : nil)
        guard url.map({ Self.problem(with: $0) == nil }) ?? true else { return nil }
    }

    /// A sentence about an address that clients cannot be sent to. They add `?ticket=…` to it.
    static func problem(with url: String) -> String? {
        let bytes = Array(url.utf8)
        guard bytes.count <= longestURL else { return "is longer than \(longestURL) bytes" }
        guard let scheme = ["ws://", "wss://"].first(where: { bytes.starts(with: $0.utf8) }) else {
            return "begins neither with ws:// nor with wss://"
        }
        guard bytes.allSatisfy({ isURLByte($0) && !"'?#@".utf8.contains($0) }) else {
            return "has a character that no such address has, or a user, a query or a fragment"
        }
        let host = bytes.dropFirst(scheme.utf8.count).prefix { $0 != UInt8(ascii: "/") }
        guard let first = host.first, first != UInt8(ascii: ":") else { return "names no host" }
        do throws(ServerURL.Problem) {
            let parsed = try ServerURL(url, ports: ["ws": 80, "wss": 443])
            return parsed.hosts.count == 1 ? nil : "names several hosts"
        } catch { return "is not an address: \(error)" }
    }
}
