import CMagic
public import ChatCore

/// Detects content types with libmagic and its own database, loaded at first use.
public final class MagicContentTyper: ContentTyper {
    private lazy var cookie: magic_t? = MagicContentTyper.open()

    public init() {}

    deinit { if let cookie { magic_close(cookie) } }

    public func type(of bytes: [UInt8]) -> MediaType? {
        guard let cookie else { return nil }
        guard !bytes.isEmpty else { return MediaType("application/x-empty") }
        let text = bytes.withUnsafeBytes { magic_buffer(cookie, $0.baseAddress, $0.count) }
        let type = text.flatMap { MediaType(String(cString: $0)) }
        // libmagic reports playlists as text or, because of later bytes, as audio.
        if MediaType.isPlaylist(bytes), type?.isActive != true { return MagicContentTyper.list }
        // Old DOS programs begin with any jump instruction, and so does one in a hundred files of random bytes.
        if type == MagicContentTyper.dosProgram, !bytes.starts(with: "MZ".utf8) { return .unknown }
        return type
    }

    /// A weak result: the sender's claim is accepted unless it says video or audio.
    private static let list = MediaType("text/plain")
    private static let dosProgram = MediaType("application/x-dosexec")

    private static func open() -> magic_t? {
        // Disable everything that unpacks or walks structures: untrusted files get a look at their first bytes only.
        let flags =
            MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_TAR | MAGIC_NO_CHECK_CDF | MAGIC_NO_CHECK_ELF
        guard let cookie = magic_open(flags) else { return nil }
        guard magic_load(cookie, nil) == 0 else {
            magic_close(cookie)
            return nil
        }
        return cookie
    }
}
