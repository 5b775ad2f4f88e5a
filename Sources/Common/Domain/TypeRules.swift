/// The types allowed for each kind of file, and the choice between three sources: the file's bytes, its sender, its
/// name.
///
/// A picture, video or audio file must be one by its bytes. For any other file the sender's claim is accepted unless
/// the bytes are certain: a format that no other file matches by chance, content that a browser runs, or a program. The
/// result decides how a client shows the file, never whether a browser may run it here.
public struct TypeRules: Sendable {
    /// `type/subtype`, `type/*` or `*/*`.
    private var allowed: [ContentType: [String]]

    /// - Parameter allowed: an empty list means the default one.
    public init(_ allowed: [ContentType: [String]]) { self.allowed = allowed.filter { !$0.value.isEmpty } }

    public static let standard = TypeRules([:])

    /// - Parameters:
    ///   - kind: the message's content type.
    ///   - detected: the type found in the bytes.
    ///   - claimed: the type given by the sender.
    public func decide(
        _ kind: ContentType, detected: MediaType?, claimed: MediaType?, name: String
    ) throws(Refusal) -> MediaType {
        let byName = MediaType(fileName: name)
        guard let detected, !detected.isOfNothing else { return try believe(claimed, byName, kind) }
        guard detected.isFirm || kind != .file && detected.fits(kind) else {
            guard kind != .file else { return try believe(claimed, byName, kind, unless: detected) }
            // libmagic reports some drawings as plain text. They are only offered for download.
            guard kind == .image, let claimed, claimed.isActive, detected.description.hasPrefix("text/") else {
                throw wrong(detected, kind)
            }
            return try check(claimed, kind, claimed)
        }
        let candidates = [claimed, byName].compactMap { $0 }
        guard kind != .file else {
            let active = (candidates + [detected]).first { $0.isActive }
            return try check(active ?? candidates.first ?? detected, kind, detected)
        }
        // An SVG is both text that runs and a picture. The sender's claim decides; it is only offered for download.
        if let claimed, claimed.isActive, detected.isActive { return try check(claimed, kind, claimed) }
        guard detected.fits(kind) else { throw wrong(detected, kind) }
        if kind == .image { return try check(detected, kind, detected) }
        return try check(candidates.first { $0.fits(kind) } ?? detected, kind, detected)
    }

    /// Decides without the bytes: the file is empty, or libmagic is not installed.
    ///
    /// - Parameter detected: an uncertain result; a claim of a picture, video or audio file must agree with it.
    private func believe(
        _ claimed: MediaType?, _ byName: MediaType, _ kind: ContentType, unless detected: MediaType? = nil
    ) throws(Refusal) -> MediaType {
        let candidates = [claimed, byName, .unknown].compactMap { $0 }.filter {
            detected == nil || $0.contentType == .file || $0.isActive || detected?.contentType == $0.contentType
        }
        return try check(candidates.first { isAllowed($0, kind) }, kind, claimed ?? byName)
    }

    private func check(_ type: MediaType?, _ kind: ContentType, _ found: MediaType) throws(Refusal) -> MediaType {
        guard let type, isAllowed(type, kind) else { throw wrong(found, kind) }
        return type
    }

    private func wrong(_ type: MediaType, _ kind: ContentType) -> Refusal {
        Refusal(.unsupportedMediaType, "\(type) is not allowed for ContentType \(kind.name)", field: "File")
    }

    private func isAllowed(_ type: MediaType, _ kind: ContentType) -> Bool {
        guard let patterns = allowed[kind] else { return kind == .file || type.fits(kind) || type == .unknown }
        return patterns.contains { pattern in
            pattern == "*/*" || pattern == type.description
                || pattern.hasSuffix("/*") && type.description.hasPrefix(pattern.dropLast())
        }
    }
}

extension MediaType {
    /// libmagic's result for an empty file.
    fileprivate var isOfNothing: Bool { description == "application/x-empty" || description == "inode/x-empty" }

    /// Identified by more than a few bytes that any file could begin with.
    fileprivate var isFirm: Bool { isActive || MediaType.firm.contains(description) }

    /// Audio and video share their containers.
    fileprivate func fits(_ kind: ContentType) -> Bool {
        switch kind {
        case .video, .audio: contentType == .video || contentType == .audio || description == "application/ogg"
        default: contentType == kind
        }
    }

    private static let firm: Set<String> = [
        "image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/avif", "image/tiff", "image/bmp",
        "video/mp4", "video/webm", "video/quicktime", "video/x-matroska", "video/x-msvideo", "video/x-m4v",
        "audio/flac", "audio/x-wav", "audio/ogg", "audio/x-m4a", "application/ogg",
        "application/pdf", "application/zip", "application/x-executable", "application/x-pie-executable",
        "application/x-sharedlib", "application/x-dosexec", "application/x-mach-binary",
        "application/vnd.microsoft.portable-executable",
    ]
}
