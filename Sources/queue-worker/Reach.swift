import ChatCore

/// Whether this worker reaches PostgreSQL and Redis, and what follows for its queues: without one of them they are let go, so
/// that a worker that may reach it takes them over. This one stands aside until both answer it.
struct Reach {
    enum Server: String {
        case postgres = "PostgreSQL"
        case redis = "Redis"
    }

    /// Without an answer for this time it lets go.
    static let patience = Duration.seconds(4)
    /// The same when no other host's worker is known: nobody may be there to take over, yet one may have come since.
    static let patienceAlone = Duration.seconds(60)
    /// For how long it stands aside when it lets go again within `calm`: doubling up to `longestPause`.
    static let firstPause = Duration.seconds(1)
    static let longestPause = Duration.seconds(30)
    static let calm = Duration.seconds(60)

    private var unansweredSince: [Server: Int64] = [:]
    /// The server because of which it stands aside.
    private(set) var aside: Server?
    var isAside: Bool { aside != nil }
    private var joinedAt: Int64?
    private var pause = Duration.zero
    private var mayAskAt: Int64 = .min

    /// It answered, whatever it said.
    mutating func answered(_ server: Server) { if !unansweredSince.isEmpty { unansweredSince[server] = nil } }

    /// - Parameter since: monotonic milliseconds.
    mutating func unanswered(_ server: Server, since: Int64) {
        unansweredSince[server] = min(unansweredSince[server] ?? since, since)
    }

    /// When it must let its queues go, and because of which server; nil while both answer.
    func letsGo(knowsOthers: Bool) -> (at: Int64, server: Server)? {
        guard !isAside, let (server, since) = unansweredSince.min(by: { $0.value < $1.value }) else { return nil }
        return (since + (knowsOthers ? Self.patience : Self.patienceAlone).milliseconds, server)
    }

    mutating func letGo(of server: Server, now: Int64) {
        let isAgain = joinedAt.map { now - $0 < Self.calm.milliseconds } ?? false
        pause = isAgain ? min(max(pause * 2, Self.firstPause), Self.longestPause) : .zero
        mayAskAt = now + pause.milliseconds
        aside = server
    }

    /// Milliseconds until it asks whether it may join the lines again.
    func rest(now: Int64) -> Int { isAside ? Int(max(0, mayAskAt - now)) : 0 }

    mutating func joined(now: Int64) {
        guard isAside else { return }
        joinedAt = now
        aside = nil
        unansweredSince = [:]
    }
}
