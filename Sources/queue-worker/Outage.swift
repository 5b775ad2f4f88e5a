import Logging

/// Says once that a server is away, and once that it is back.
struct Outage {
    private var away: Set<String> = []

    mutating func began(_ server: String, _ error: String, _ log: Logger) {
        guard away.insert(server).inserted else { return }
        log.warning("\(server) is away; trying until it is back", metadata: ["error": "\(error)"])
    }

    mutating func ended(_ server: String, _ log: Logger) {
        guard away.remove(server) != nil else { return }
        log.notice("\(server) is back")
    }
}
