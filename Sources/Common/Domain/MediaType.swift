/// The media type of a file (`type/subtype`, lower case), claimed by its sender or guessed from its name. Never
/// trusted: it decides how a client shows the file, not whether a browser may run it here (see ``isShownInline``).
public struct MediaType: Sendable, Equatable, CustomStringConvertible {
    public let description: String

    public static let unknown = MediaType("application/octet-stream")!

    /// Parameters are dropped; nil when the text is not a media type.
    public init?(_ text: String) {
        let bytes = text.utf8.prefix { $0 != UInt8(ascii: ";") }.filter { $0 != 0x20 && $0 != 0x09 }
        let plain = asciiLowercased(String(decoding: bytes, as: UTF8.self))
        let sides = plain.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        // RFC 6838, 4.2: restricted names, each at most 127 characters.
        guard sides.count == 2,
            sides.allSatisfy({ (1...127).contains($0.count) && $0.allSatisfy(MediaType.isNameByte) })
        else { return nil }
        description = plain
    }

    /// Guesses by the file name's extension; an unlisted one gives ``unknown``.
    public init(fileName: String) {
        let parts = fileName.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let known = parts.count > 1 ? MediaType.byExtension[asciiLowercased(Substring(parts.last!))] : nil
        self = known.flatMap { MediaType($0) } ?? .unknown
    }

    public var contentType: ContentType {
        switch description.prefix(while: { $0 != "/" }) {
        case "image": .image
        case "video": .video
        case "audio": .audio
        default: .file
        }
    }

    /// Whether browsers show the file without running anything in it.
    public var isShownInline: Bool {
        guard !isActive, !isPlaylist else { return false }
        switch description {
        case "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf": return true
        default: return contentType == .video || contentType == .audio
        }
    }

    /// A playlist: a player would fetch any address that the sender put into it.
    public var isPlaylist: Bool {
        MediaType.playlistWords.contains { description.firstRange(of: $0) != nil }
            || MediaType.playlists.contains(description)
    }

    /// Recognises a playlist by its first bytes, after a byte order mark and white space.
    ///
    /// - Parameter head: the first bytes of a file.
    public static func isPlaylist(_ head: [UInt8]) -> Bool {
        var start = head[...]
        if start.starts(with: [0xef, 0xbb, 0xbf]) { start = start.dropFirst(3) }
        start = start.drop { $0 == 0x20 || (0x09...0x0d).contains($0) }
        let word = start.prefix(16).map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }
        return playlistStarts.contains { word.starts(with: $0.utf8) }
    }

    /// A document that may contain scripts, which a viewer could run.
    public var canRunScripts: Bool { description == "application/pdf" }

    /// Whether a browser could run the file if one of our origins ever showed it.
    public var isActive: Bool {
        let words = ["html", "xml", "svg", "script"]
        return words.contains { description.firstRange(of: $0) != nil }
            || description.hasPrefix("text/") && description != "text/plain"
    }

    private static let playlistWords = ["mpegurl", "scpls", "playlist", "x-ms-asx", "x-ms-wpl"]
    /// Old types for reference files: RealAudio, Windows Media, QuickTime.
    private static let playlists: Set<String> = [
        "audio/x-pn-realaudio", "audio/x-pn-realaudio-plugin", "audio/vnd.rn-realaudio", "audio/x-ms-wax",
        "video/x-ms-wvx", "video/x-ms-wmx", "audio/m3u", "audio/x-m3u",
    ]
    /// M3U and HLS, PLS, ASX, references of Windows Media and RealMedia, FFmpeg's concat lists.
    private static let playlistStarts = [
        "#extm3u", "#ext-x-", "[playlist]", "[reference]", "<asx", "<smil", "<?wpl", "rtsptext", "rtsp://", "ffconcat",
    ]

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: "!#$&-^_.+".utf8.contains(byte)
        }
    }

    private static let byExtension = [
        "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
        "heic": "image/heic", "avif": "image/avif", "svg": "image/svg+xml",
        "mp4": "video/mp4", "m4v": "video/mp4", "webm": "video/webm", "mov": "video/quicktime",
        "mkv": "video/x-matroska",
        "mp3": "audio/mpeg", "m4a": "audio/mp4", "aac": "audio/aac", "ogg": "audio/ogg", "opus": "audio/ogg",
        "wav": "audio/wav", "flac": "audio/flac",
        "pdf": "application/pdf", "zip": "application/zip", "gz": "application/gzip", "json": "application/json",
        "txt": "text/plain", "csv": "text/csv", "html": "text/html", "xml": "application/xml",
        "doc": "application/msword", "xls": "application/vnd.ms-excel", "ppt": "application/vnd.ms-powerpoint",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "odt": "application/vnd.oasis.opendocument.text", "ods": "application/vnd.oasis.opendocument.spreadsheet",
    ]
}
