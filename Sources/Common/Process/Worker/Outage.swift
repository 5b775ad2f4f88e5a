public import Logging

/// Logs the start and the end of a server's outage, once each.
public struct Outage {
    private var away: Set<String> = []

    public init() {}

    public mutating func began(_ server: String, _ error: String, _ log: Logger) {
        guard away.insert(server).inserted else { return }
        log.warning("\(server) is away; trying until it is back", metadata: ["error": "\(error)"])
    }

    public func isAway(_ server: String) -> Bool { away.contains(server) }

    public mutating func ended(_ server: String, _ log: Logger) {
        guard away.remove(server) != nil else { return }
        log.notice("\(server) is back")
    }
}
