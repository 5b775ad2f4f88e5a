public import Logging

/// Finds the user of a request that has cookies of the host application instead of a token. For one thread.
///
/// Answers are cached. Cookies of no session count against the client's network, and only a few workers ask at the same
/// time: a client with invented cookies, or a host that is slow, does not keep the workers from others. A failure that one
/// client can cause (its session is locked at the host, or the host cannot read its cookies) stops no other network.
public final class RecogniseSession {
    /// After a failed question its network does not ask for this time, and nobody does after failures of two networks: a
    /// host that is down costs a worker one time limit in it.
    private static let rest = Duration.seconds(1)
    /// Requests of one page arrive together: one of them asks, and the others wait this long for its answer or a place.
    private static let longestWait = Duration.milliseconds(200)
    private static let pace = Duration.milliseconds(10)
    /// Of the UUIDs under which networks are counted. Random, drawn once.
    private static let networks = UUID128(high: 0x6c1d_0f5a_93be_4e27, low: 0x9a40_71d2_8cf3_5be6)

    private let check: any SessionCheck
    private let cache: any SessionCache
    private let places: any SharedPlaces
    private let rates: any RateLimiter
    private let times: SessionTimes
    private let isRevoked: (Identity) -> Bool
    private let clock: Clock
    /// Waits so many milliseconds.
    private let wait: (Int) -> Void
    private let log: Logger
    private var failedAt: Int64?
    /// The first two whose questions failed since the host's last answer.
    private var failed: Set<UUID128> = []
    private var loggedAt: Int64?

    public init(
        check: any SessionCheck, cache: any SessionCache, places: any SharedPlaces, rates: any RateLimiter,
        times: SessionTimes, isRevoked: @escaping (Identity) -> Bool, clock: @escaping Clock = systemClock,
        wait: @escaping (Int) -> Void, log: Logger
    ) {
        (self.check, self.cache, self.places, self.rates) = (check, cache, places, rates)
        (self.times, self.isRevoked) = (times, isRevoked)
        (self.clock, self.wait, self.log) = (clock, wait, log)
    }

    /// Throws `unauthorized` when the host knows no such session, and `rate_limited`, `busy` or `unavailable` when it
    /// was not asked or did not answer.
    public func identity(of question: SessionQuestion) throws(Refusal) -> Identity {
        let key = check.key(of: question)
        if let known = fresh(key) { return identity(of: known) }
        let network = UUID128.v5(question.network, in: Self.networks)
        guard !isResting(network) else { return try stale(key) }
        if let wait = rates.wait(.sessions, network) { throw .tooMany(.sessions, milliseconds: wait) }
        if let known = try takePlace(or: key) { return identity(of: known) }
        defer { places.leave() }
        let found: HostSession?
        do throws(SessionCheckFailure) { found = try check.session(of: question) } catch {
            note(error, network)
            return try stale(key)
        }
        (failedAt, failed) = (nil, [])
        guard let found else {
            rates.add(1, .sessions, network)
            cache.drop(key)
            throw Refusal(.unauthorized, "the host application knows no session with these cookies")
        }
        keep(found, key)
        count(found, network)
        return identity(of: found)
    }

    private func note(_ failure: SessionCheckFailure, _ network: UUID128) {
        let now = clock()
        if loggedAt.map({ !(0..<Self.rest.milliseconds).contains(now - $0) }) ?? true {
            loggedAt = now
            log.warning("the session check failed", metadata: ["error": "\(failure)"])
        }
        // In an outage the clients of a network are not to blame.
        if failure.concernsQuestion || failed.isEmpty { rates.add(1, .sessions, network) }
        guard !failure.concernsQuestion else { return (failedAt, failed) = (nil, []) }
        failedAt = now
        if failed.count < 2 { failed.insert(network) }
    }

    /// A session whose cookies are others in each request is asked about each time, like an invented one.
    private func count(_ session: HostSession, _ network: UUID128) {
        guard session.freshUntil > session.askedAt, rates.take(.sessions, session.user.id) != nil else { return }
        rates.add(1, .sessions, network)
    }

    private func keep(_ session: HostSession, _ key: [UInt8]) {
        let time = Duration.milliseconds(max(0, session.freshUntil - session.askedAt)) + times.stale
        if time > .zero { cache.keep(session, key, for: time) }
    }

    private func isResting(_ network: UUID128) -> Bool {
        guard let failedAt, (0..<Self.rest.milliseconds).contains(clock() - failedAt) else { return false }
        return failed.count > 1 || failed.contains(network)
    }

    /// A cached session that was revoked here may have begun again at the host: it is asked.
    private func fresh(_ key: [UInt8]) -> HostSession? {
        cache.find(key).flatMap { $0.freshUntil > clock() && !isRevoked(identity(of: $0)) ? $0 : nil }
    }

    /// - Returns: nil with a place that is taken; or the answer that another worker has received meanwhile.
    private func takePlace(or key: [UInt8]) throws(Refusal) -> HostSession? {
        var left = Self.longestWait
        while !places.take() {
            guard left > .zero else { throw .busy("too many questions to the host application are open") }
            wait(Int(Self.pace.milliseconds))
            left -= Self.pace
            if let known = fresh(key) { return known }
        }
        return nil
    }

    /// An older answer, if the settings allow it while the host is silent.
    private func stale(_ key: [UInt8]) throws(Refusal) -> Identity {
        guard times.stale > .zero, let known = cache.find(key), !isRevoked(identity(of: known)),
            clock() < known.freshUntil + times.stale.milliseconds
        else { throw .unavailable("the host application's check of sessions") }
        return identity(of: known)
    }

    private func identity(of session: HostSession) -> Identity {
        Identity(
            user: session.user.id, expiresAt: session.askedAt / 1000 + times.socket.seconds,
            issuedAt: session.askedAt, name: session.name, externalID: session.user.externalID,
            avatar: session.picture)
    }
}
