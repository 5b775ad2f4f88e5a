/// What files of each kind may be, and which of three is believed: the file's bytes, its sender, its name.
///
/// A picture, a film or a sound has to be one by its bytes. Of any other file only what bytes say firmly counts against a
/// sender: formats that cannot be met by chance, what a browser runs, and programs; otherwise the claim is believed. It
/// decides how a client shows the file, never whether a browser may run it here.
public struct TypeRules: Sendable {
    /// `type/subtype`, `type/*` or `*/*`.
    private var allowed: [ContentType: [String]]

    /// - Parameter allowed: an empty list is that of the standard.
    public init(_ allowed: [ContentType: [String]]) { self.allowed = allowed.filter { !$0.value.isEmpty } }

    public static let standard = TypeRules([:])

    /// - Parameters:
    ///   - kind: the message's.
    ///   - detected: by the bytes.
    ///   - claimed: by the sender.
    public func decide(
        _ kind: ContentType, detected: MediaType?, claimed: MediaType?, name: String
    ) throws(Refusal) -> MediaType {
        let byName = MediaType(fileName: name)
        guard let detected, !detected.isOfNothing else { return try believe(claimed, byName, kind) }
        guard detected.isFirm || kind != .file && detected.fits(kind) else {
            guard kind != .file else { return try believe(claimed, byName, kind, unless: detected) }
            // libmagic finds some drawings to be plain text. They are only ever saved.
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
        // An SVG is text that runs and a picture as well; who says so is believed, and it is only ever saved.
        if let claimed, claimed.isActive, detected.isActive { return try check(claimed, kind, claimed) }
        guard detected.fits(kind) else { throw wrong(detected, kind) }
        if kind == .image { return try check(detected, kind, detected) }
        return try check(candidates.first { $0.fits(kind) } ?? detected, kind, detected)
    }

    /// The bytes say nothing: there are none, or libmagic is not there.
    ///
    /// - Parameter detected: what they are not sure to be; a picture, a film or a sound they would surely be.
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
        Refusal(.unsupportedMediaType, "\(type) is not taken for ContentType \(kind.name)", field: "File")
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
    /// What libmagic says of a file without bytes.
    fileprivate var isOfNothing: Bool { description == "application/x-empty" || description == "inode/x-empty" }

    /// Found by more than a few bytes that any file could begin with.
    fileprivate var isFirm: Bool { isActive || MediaType.firm.contains(description) }

    /// Sound and moving pictures share their containers.
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
