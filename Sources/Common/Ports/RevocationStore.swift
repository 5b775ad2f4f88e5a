/// Stores revocations; they survive restarts of every program and of Redis.
public protocol RevocationStore: AnyObject {
    /// Stored when it returns; every program knows of it within a second.
    ///
    /// - Parameter days: the revocation is forgotten after this; longer than any token lives.
    func revoke(_ subject: Revocation.Subject, days: Int) throws(StoreError)
    /// Revocations from that Unix millisecond on; nil: all.
    func revocations(since: Int64?) throws(StoreError) -> [Revocation]
}
