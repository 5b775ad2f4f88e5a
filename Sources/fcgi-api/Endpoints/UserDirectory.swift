import ChatCore
import Logging

/// Stores the claims of tokens about their users: each token once per worker, so that most requests need no query.
final class UserDirectory {
    /// Claims that are remembered; above the limit all are dropped, and stored again.
    private static let limit = 10_000
    /// How long a failed store is not asked again, so that no request waits for it twice.
    private static let pause = Duration.seconds(5)

    private let store: any UserStore
    private let news: any UserNews
    private let log: Logger
    private var known: Set<UserClaims> = []
    private var lostAt: Int64?

    init(store: any UserStore, news: any UserNews, log: Logger) {
        self.store = store
        self.news = news
        self.log = log
    }

    /// A failure does not affect the request: the next one tries again.
    ///
    /// - Parameter now: Unix milliseconds.
    func learn(_ identity: Identity, at now: Int64) {
        guard var claims = UserClaims(identity) else { return }
        // Each token with a name is passed to the store once, since a name may change back. An id cannot, so tokens
        // without a name count as equal.
        if claims.name == nil, claims.avatar == nil { claims.at = 0 }
        guard !known.contains(claims), lostAt.map({ now - $0 > Self.pause.milliseconds || now < $0 }) ?? true else {
            return
        }
        do throws(StoreError) {
            news.tell(try store.learn([claims]))
            lostAt = nil
            if known.count >= Self.limit { known.removeAll(keepingCapacity: true) }
            known.insert(claims)
        } catch {
            lostAt = now
            log.warning("the claims of a token were not stored", metadata: ["error": "\(error)"])
        }
    }
}
