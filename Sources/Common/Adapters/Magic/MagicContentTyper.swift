import CMagic
public import ChatCore

/// libmagic with its own database, read at first use.
public final class MagicContentTyper: ContentTyper {
    private lazy var cookie: magic_t? = MagicContentTyper.open()

    public init() {}

    deinit { if let cookie { magic_close(cookie) } }

    public func type(of bytes: [UInt8]) -> MediaType? {
        guard let cookie else { return nil }
        guard !bytes.isEmpty else { return MediaType("application/x-empty") }
        let text = bytes.withUnsafeBytes { magic_buffer(cookie, $0.baseAddress, $0.count) }
        let type = text.flatMap { MediaType(String(cString: $0)) }
        // libmagic knows them as text, or by what stands further behind, as music.
        if MediaType.isPlaylist(bytes), type?.isActive != true { return MagicContentTyper.list }
        // DOS programs of old begin with any jump: one of a hundred files of random bytes does so, too.
        if type == MagicContentTyper.dosProgram, !bytes.starts(with: "MZ".utf8) { return .unknown }
        return type
    }

    /// Of no kind but file, and not firm: what its sender calls it is believed when that is no film and no sound.
    private static let list = MediaType("text/plain")
    private static let dosProgram = MediaType("application/x-dosexec")

    private static func open() -> magic_t? {
        // Nothing that unpacks or walks through structures: the first bytes of a stranger's file are all that it gets.
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
