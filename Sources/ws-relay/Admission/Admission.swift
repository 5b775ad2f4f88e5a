import ChatCore

/// Decides which clients may connect, and how many requests are allowed: tokens, origins, handshakes, the sockets of an
/// address, the requests of a socket and of a user.
final class Admission {
    let origins: OriginRule
    private let tokens: RevocableTokens
    private let clock: TickClock
    /// Of each socket.
    private let requestLimits: RateBucket.BucketLimits
    private let handshakeLimits: RateBucket.BucketLimits
    /// The rate of handshakes of all clients together.
    private var handshakes = RateBucket()
    private var users = RateLedger()
    private var addresses: AddressCount

    init(_ settings: RelaySettings, _ tokens: any TokenVerifier, _ clock: TickClock) {
        origins = OriginRule(settings.origins)
        self.tokens = RevocableTokens(tokens)
        self.clock = clock
        requestLimits = .init(rate: Float(settings.rate), burst: Float(settings.burst))
        handshakeLimits = .init(rate: Float(settings.handshakeRate), burst: Float(settings.handshakeRate * 4))
        addresses = AddressCount(limit: settings.maxConnectionsPerAddress)
    }

    // MARK: Tokens

    func verify(_ token: String) throws(Refusal) -> Identity { try tokens.verify(token) }

    /// Whether an identity that was looked up is still valid.
    func isValid(_ identity: Identity) -> Bool {
        identity.expiresAt > clock.unixSeconds && (try? tokens.check(identity)) != nil
    }

    /// The Unix millisecond from which revocations must be read.
    var knowsRevocationsSince: Int64? { tokens.since }

    /// - Returns: the revocations that are new.
    func learn(_ revocations: [Revocation]) -> [Revocation] { tokens.learn(revocations) }

    // MARK: Rates

    func mayShakeHands() -> Bool {
        guard case .pass = handshakes.take(now: bucketTime, limits: handshakeLimits) else { return false }
        return true
    }

    /// Counts a request of the socket with this bucket.
    func take(_ bucket: inout RateBucket) -> RateBucket.Decision { bucket.take(now: bucketTime, limits: requestLimits) }

    /// Charges an admitted request that costs as much as several.
    func takeMore(_ cost: Int, _ bucket: inout RateBucket) -> Bool { bucket.takeMore(cost, limits: requestLimits) }

    private var bucketTime: UInt32 { UInt32(truncatingIfNeeded: clock.milliseconds) }

    /// Counts against the user's limit over all sockets and programs.
    func take(_ kind: RateKind, of user: UUID128) -> RateLedger.Decision {
        users.take(kind, user, now: clock.milliseconds)
    }

    /// Makes this user wait, because the shared counter is above the limit.
    func close(_ kind: RateKind, of user: UUID128, milliseconds: Int) {
        users.close(kind, user, until: clock.milliseconds + Int64(milliseconds))
    }

    /// The counts since the last call, for the shared counters.
    func takeCounts() -> [RateCount] { users.takeCounts(now: clock.milliseconds) }

    // MARK: Addresses

    /// The hash under which the socket is counted, 0 when it is not; nil: its address has reached its limit.
    func count(peer descriptor: Int32, forwarded: String?) -> UInt64? {
        addresses.add(peer: descriptor, forwarded: forwarded)
    }

    func recount(address: UInt64) { addresses.add(address) }

    func uncount(address: UInt64) { addresses.remove(address) }
}
