import ChatCore

/// The known state of a replica: its position, and an upper bound of its lag.
///
/// The lag needs no clock of another machine: the primary was at some position at some time, and once the replica has
/// reached that position, it is behind by at most the time since then.
struct ReplicaState {
    /// The time between two checks, and how long a failed replica is not used.
    static let interval = Duration.seconds(1)
    static let pause = Duration.seconds(10)
    /// Positions of the primary that are kept; two per minute would be enough for the longest allowed lag.
    private static let kept = 600

    private let maxLag: Int64
    /// Positions of the primary, oldest first.
    private var samples: ArraySlice<(at: Int64, position: Int64)> = []
    private var replayed: Int64?
    private var session: Int?
    private var lookAt: Int64 = .min
    private(set) var failedAt: Int64?

    /// - Parameter maxLag: milliseconds; a replica that is further behind is not used.
    init(maxLag: Int64) { self.maxLag = maxLag }

    func mustLook(_ now: Int64) -> Bool { now >= lookAt }

    /// - Parameters:
    ///   - primary: the primary's position, read before the replica's.
    ///   - now: when the primary was asked.
    ///   - session: that of the connection to the replica: another one may lead to another server.
    mutating func looked(primary: Int64, replica: Int64, session: Int, at now: Int64) {
        // This is another primary, which may lack data: the old positions are no longer valid.
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

    /// An upper bound of the lag in milliseconds; nil: unknown.
    func lag(at now: Int64) -> Int64? {
        guard let replayed, let sample = samples.last(where: { $0.position <= replayed }) else { return nil }
        return now - sample.at
    }

    func isUsable(at now: Int64) -> Bool { failedAt == nil && lag(at: now).map { $0 <= maxLag } ?? false }

    /// Whether the replica has everything up to this position, by a check on the same connection.
    func has(_ position: Int64, session: Int) -> Bool {
        session == self.session && replayed.map { $0 >= position } ?? false
    }
}
