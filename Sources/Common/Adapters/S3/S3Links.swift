import ChatCore

/// Presigned URLs, valid for a limited time for anyone who has them. The signature is in the query, which libcurl
/// cannot do.
struct S3Links {
    let settings: StorageSettings
    let address: S3Address
    let clock: Clock

    /// - Parameter headers: names in lower case; the store refuses a request without exactly these headers.
    func link(
        _ method: String, _ key: String, seconds: Int, query: [(String, String)] = [],
        headers: [(name: String, value: String)] = []
    ) -> String {
        let signing = SignatureV4(secretKey: settings.secretKey, region: settings.region, stamp: stamp())
        let headers = headers + [("host", address.host)]
        var all =
            query + [
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", "\(settings.accessKey)/\(signing.scope)"), ("X-Amz-Date", signing.stamp),
                ("X-Amz-Expires", "\(seconds)"), ("X-Amz-SignedHeaders", SignatureV4.names(headers)),
            ]
        if let token = settings.sessionToken { all.append(("X-Amz-Security-Token", token)) }
        let signature = signing.signature(
            method, address.path(of: key), query: all, headers: headers, payload: "UNSIGNED-PAYLOAD")
        return address.url(of: key, query: "\(SignatureV4.canonical(all))&X-Amz-Signature=\(signature)")
    }

    /// `20260131T235959Z`.
    private func stamp() -> String {
        var bytes: [UInt8] = []
        appendTimestamp(clock(), to: &bytes)
        return String(decoding: bytes, as: UTF8.self).filter { $0 != "-" && $0 != ":" }.prefix(15) + "Z"
    }
}
