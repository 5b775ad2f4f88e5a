public struct StorageSettings: Sendable {
    /// The folder that stores files instead of S3.
    public var folder: String?
    /// Signs links to files in that folder, a secret; nil: the tokens' secret does.
    public var linkSecret: String?
    /// Downloads go through nginx, for a store that clients cannot reach.
    public var areDownloadsProxied: Bool
    public var endpoint: String
    /// A file of certificate authorities in addition to the system's, for an `https://` endpoint.
    public var authorities: String?
    /// The next three are secrets.
    public var accessKey: String
    public var secretKey: String
    public var sessionToken: String?
    public var bucket: String
    public var region: String
    /// `endpoint/bucket/key`; otherwise `bucket.endpoint/key`.
    public var pathStyle: Bool
    /// Bytes of one file.
    public var maxUpload: Int
    /// Bytes of all files of one user; 0: no limit.
    public var quota: Int
    /// An incomplete upload is aborted after this time.
    public var expiry: Duration
    /// Between two sweeps for such uploads.
    public var sweepPause: Duration
    /// The folder for a request's file while it is read.
    public var temporaryFolder: String
    /// `auto`, `bwrap` or `none`: the sandbox of the programs that inspect files.
    public var mediaJail: String
    /// Pictures with more pixels are not decoded.
    public var maxPixels: Int
    /// The file types that the operator allows.
    public var types: TypeRules
    /// ClamAV's daemon, `unix:/path` or `host:port`; nil: files are not scanned.
    public var clamd: String?

    /// `unix:/path` or `host:port`.
    private static func isAddress(_ text: String) -> Bool {
        if text.utf8.starts(with: "unix:".utf8) {
            let path = text.utf8.dropFirst(5)
            return path.first == UInt8(ascii: "/") && (2...107).contains(path.count)
        }
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")), colon > text.startIndex,
            case let digits = text.utf8[colon...].dropFirst(), digits.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt16(String(Substring(digits)))
        else { return false }
        return port > 0
    }

    /// Without a store the service takes no files.
    public var isSet: Bool { !endpoint.isEmpty || folder != nil }

    init(_ values: inout SettingsReader) {
        let storage = values.text("STORAGE", default: "s3")
        folder = storage.hasPrefix("disk:/") ? String(storage.dropFirst(5)) : nil
        if folder == nil, storage != "s3" { values.problem("STORAGE=\(storage) is neither s3 nor disk:/path") }
        if let folder, folder.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f || "$;{}\"'\\#".utf8.contains($0) }) {
            values.problem("STORAGE: nginx takes no path with blanks, quotes or any of $ ; { } \\ #")
        }
        linkSecret = values.optional("UPLOAD_LINK_SECRET")
        if let linkSecret, linkSecret.utf8.count < 32 {
            values.problem("UPLOAD_LINK_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
        areDownloadsProxied = values.choice("DOWNLOADS", ["redirect", "proxy"], default: "redirect") == "proxy"
        endpoint = values.text("S3_ENDPOINT", default: "")
        values.expectHTTP("S3_ENDPOINT", endpoint)
        accessKey = values.text("S3_ACCESS_KEY", default: "")
        secretKey = values.text("S3_SECRET_KEY", default: "")
        sessionToken = values.optional("S3_SESSION_TOKEN")
        bucket = values.text("S3_BUCKET_NAME", default: "chat")
        region = values.text("S3_REGION", default: "us-east-1")
        pathStyle = values.choice("S3_ADDRESSING", ["path", "virtual-host"], default: "path") == "path"
        maxUpload = values.number("S3_MAX_UPLOAD_SIZE", default: 20 * 1024 * 1024, in: 1...5_368_709_120)
        quota = values.number("UPLOAD_QUOTA", default: 0, in: 0...1_000_000_000_000_000)
        expiry = values.seconds("UPLOAD_EXPIRE_SECONDS", default: 86_400, in: 1...31_536_000)
        sweepPause = values.seconds("UPLOAD_SWEEP_SECONDS", default: 60, in: 1...86_400)
        temporaryFolder = values.text("UPLOAD_TEMP_DIR", default: "/var/tmp")
        mediaJail = values.choice("MEDIA_JAIL", ["auto", "bwrap", "none"], default: "auto")
        maxPixels = values.number("MEDIA_MAX_PIXELS", default: 50_000_000, in: 1...2_000_000_000)
        types = TypeRules([
            .image: values.list("UPLOAD_TYPES_IMAGE"), .video: values.list("UPLOAD_TYPES_VIDEO"),
            .audio: values.list("UPLOAD_TYPES_AUDIO"), .file: values.list("UPLOAD_TYPES_FILE"),
        ])
        clamd = values.optional("CLAMD_ADDRESS")
        if let clamd, !Self.isAddress(clamd) {
            values.problem("CLAMD_ADDRESS=\(clamd) is neither unix:/path, of at most 107 bytes, nor host:port")
        }
    }
}
