/// Where revocations are kept: it outlives every program and Redis.
public protocol RevocationStore: AnyObject {
    /// Stored when it returns; every program knows of it within a second.
    ///
    /// - Parameter days: after which it is forgotten. Longer than any token lives.
    func revoke(_ subject: Revocation.Subject, days: Int) throws(StoreError)
    /// All made at that Unix millisecond or later; nil: all.
    func revocations(since: Int64?) throws(StoreError) -> [Revocation]
}
