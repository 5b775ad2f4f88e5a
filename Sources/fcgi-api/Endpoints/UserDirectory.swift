import ChatCore
import Logging

/// Keeps what tokens say of their bearers: each token once a worker, so that most requests ask the database nothing.
final class UserDirectory {
    /// Claims that are remembered; past it all are forgotten, and kept again.
    private static let limit = 10_000
    /// How long a store that failed is not asked: no request waits for it twice.
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

    /// A failure is no request's: the next one tries again.
    ///
    /// - Parameter now: Unix milliseconds.
    func learn(_ identity: Identity, at now: Int64) {
        guard var claims = UserClaims(identity) else { return }
        // A name that comes back after another one is news, so each token is shown to the store once; an id is not.
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
            log.warning("what a token says of its user was not kept", metadata: ["error": "\(error)"])
        }
    }
}
