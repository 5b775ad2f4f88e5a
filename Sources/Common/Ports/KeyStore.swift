/// The keys of the host application, and the audit log of their use.
public protocol KeyStore: AnyObject {
    /// The key with this SHA-256; nil: there is none, or it was revoked.
    func key(hash: [UInt8]) throws(StoreError) -> ServerKey?
    /// - Parameter time: how long entries are kept. Whole days.
    func record(_ entry: AuditEntry, keepingFor time: Duration) throws(StoreError)
    /// Newest first.
    ///
    /// - Parameter before: the last entry of the previous page.
    func audit(before: Int64?, limit: Int) throws(StoreError) -> [AuditEntry]
}
