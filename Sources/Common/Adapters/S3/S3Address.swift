import ChatCore

/// The URL of a bucket: `https://host/bucket/key` (path style) or `https://bucket.host/key` (virtual-host style).
struct S3Address {
    /// Scheme, host and the path before a key's slash.
    let base: String
    /// The value of the `Host` header.
    let host: String
    /// The path between the host and a key's slash.
    private let path: String

    init(_ settings: StorageSettings) {
        let parts = settings.endpoint.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
        let scheme = parts.first.map(String.init) ?? "http:"
        let rest = parts.count > 2 ? parts[2] : ""
        let authority = rest.prefix { $0 != "/" }
        let below = rest.dropFirst(authority.count).reversed().drop { $0 == "/" }.reversed().map(String.init).joined()
        host = settings.pathStyle ? String(authority) : "\(settings.bucket).\(authority)"
        path = settings.pathStyle ? "\(below)/\(settings.bucket)" : below
        base = "\(scheme)//\(host)\(path)"
    }

    func path(of key: String) -> String { "\(path)/\(key)" }
    func url(of key: String, query: String) -> String { "\(base)/\(key)\(query.isEmpty ? "" : "?\(query)")" }
    /// The URL of the bucket itself.
    func url(query: String) -> String { "\(base)\(path.isEmpty ? "/" : "")\(query.isEmpty ? "" : "?\(query)")" }
}
