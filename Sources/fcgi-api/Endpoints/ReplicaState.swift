import ChatCore

/// The state of a replica, as far as it is known: its position, and how far it is behind at most.
///
/// The lag needs no clock of another machine: at a time the primary was at some position, and once the replica has reached
/// that position it is behind by no more than the time since.
struct ReplicaState {
    /// Between two looks, and how long a replica that failed is not used.
    static let interval = Duration.seconds(1)
    static let pause = Duration.seconds(10)
    /// Positions of the primary that are kept; two a minute would do for the longest lag that is allowed.
    private static let kept = 600

    private let maxLag: Int64
    /// Of the primary, oldest first.
    private var samples: ArraySlice<(at: Int64, position: Int64)> = []
    private var replayed: Int64?
    private var session: Int?
    private var lookAt: Int64 = .min
    private(set) var failedAt: Int64?

    /// - Parameter maxLag: milliseconds; a replica that is further behind is not used.
    init(maxLag: Int64) { self.maxLag = maxLag }

    func mustLook(_ now: Int64) -> Bool { now >= lookAt }

    /// - Parameters:
    ///   - primary: its position, asked for before the replica's.
    ///   - now: when the primary was asked.
    ///   - session: of the connection to the replica: another one may lead to another server.
    mutating func looked(primary: Int64, replica: Int64, session: Int, at now: Int64) {
        // Another primary, which may not have everything: what was known counts no more.
        if let last = samples.last, last.position > primary { samples = [] }
        if samples.last.map({ now - $0.at >= Self.interval.milliseconds }) ?? true { samples.append((now, primary)) }
        samples = samples.suffix(Self.kept)
        found(replica, session: session)
        failedAt = nil
        lookAt = now + Self.interval.milliseconds
    }

    mutating func found(_ position: Int64, session: Int) { (replayed, self.session) = (position, session) }

    mutating func failed(at now: Int64) {
        (failedAt, replayed, session) = (now, nil, nil)
        lookAt = now + Self.pause.milliseconds
    }

    /// Milliseconds that it is behind at most; nil: not known.
    func lag(at now: Int64) -> Int64? {
        guard let replayed, let sample = samples.last(where: { $0.position <= replayed }) else { return nil }
        return now - sample.at
    }

    func isUsable(at now: Int64) -> Bool { failedAt == nil && lag(at: now).map { $0 <= maxLag } ?? false }

    /// It has everything up to this position, as was found on this connection.
    func has(_ position: Int64, session: Int) -> Bool {
        session == self.session && replayed.map { $0 >= position } ?? false
    }
}
