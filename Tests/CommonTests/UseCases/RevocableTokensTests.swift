import ChatCore
import Testing

@Suite struct RevocableTokensTests {
    /// Every token is good, and of this user.
    private final class Tokens: TokenVerifier {
        func verify(_ token: String) throws(Refusal) -> Identity {
            Identity(user: UUID128(high: 1, low: 1), expiresAt: 1_000_000, issuedAt: 500, tokenID: token)
        }
    }

    private final class Store: RevocationStore {
        var all: [Revocation] = []
        var isAway = false
        var asked: [Int64?] = []

        func revoke(_ subject: Revocation.Subject, days: Int) throws(StoreError) {}
        func revocations(since: Int64?) throws(StoreError) -> [Revocation] {
            asked.append(since)
            if isAway { throw StoreError("away", isTransient: true) }
            return all.filter { $0.at >= since ?? .min }
        }
    }

    private final class Time: @unchecked Sendable { var now: Int64 = 1_000_000 }

    private let store = Store()
    private let time = Time()
    private let tokens: RevocableTokens

    init() { tokens = RevocableTokens(Tokens(), store: store, clock: { [time] in time.now }) }

    private func isGood(_ token: String) -> Bool { (try? tokens.verify(token)) != nil }

    @Test func aRevokedTokenIsRefusedWithinTheFreshness() {
        #expect(isGood("a") && isGood("b"))
        store.all = [Revocation(.token("a"), at: time.now)]
        time.now += RevocableTokens.freshness.milliseconds
        #expect(!isGood("a") && isGood("b"))
    }

    @Test func theStoreIsAskedOnceInTheFreshnessAndOnlyForNews() {
        store.all = [Revocation(.token("x"), at: time.now)]
        for _ in 0..<9 { _ = isGood("a") }
        time.now += RevocableTokens.freshness.milliseconds - 1
        _ = isGood("a")
        #expect(store.asked == [nil])
        time.now += 1
        _ = isGood("a")
        // A revocation may become visible some seconds after its time.
        #expect(store.asked == [nil, 1_000_000 - 10_000])
    }

    @Test func aStoreThatIsAwayForgetsNothingAndRefusesNobodyElse() {
        store.all = [Revocation(.token("a"), at: time.now)]
        #expect(!isGood("a"))
        store.isAway = true
        time.now += 60_000
        #expect(!isGood("a") && isGood("b"))
    }

    @Test func revokingAUserEndsTheTokensIssuedBefore() {
        let user = UUID128(high: 1, low: 1)
        store.all = [Revocation(.user(user, before: 500), at: time.now)]
        #expect(isGood("a"))
        store.all = [Revocation(.user(user, before: 501), at: time.now)]
        time.now += RevocableTokens.freshness.milliseconds
        #expect(!isGood("a"))
    }

    @Test func withoutAStoreTheOwnerTells() {
        let tokens = RevocableTokens(Tokens())
        #expect((try? tokens.verify("a")) != nil && tokens.since == nil)
        let news = [Revocation(.token("a"), at: 20_000)]
        #expect(tokens.learn(news) == news && tokens.learn(news).isEmpty)
        #expect((try? tokens.verify("a")) == nil)
        #expect(tokens.since == 10_000)
    }
}
