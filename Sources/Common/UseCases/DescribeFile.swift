public import Logging

/// Inspects a complete picture, video or audio file: dimensions, duration, thumbnail, BlurHash. It also removes the
/// location from the file. The room gets a `message_updated`.
public final class DescribeFile {
    /// Larger files are not inspected.
    private static let maxBytes: Int64 = 256 << 20

    private let stores: UploadStores
    private let tools: any MediaTools
    private let files: any WorkFiles
    private let log: Logger

    /// - Parameter files: holds the file during the inspection.
    public init(
        stores: UploadStores, tools: any MediaTools, files: any WorkFiles, log: Logger
    ) {
        self.stores = stores
        self.tools = tools
        self.files = files
        self.log = log
    }

    /// - Returns: the file's new details; nil when nothing changed.
    public func describe(_ message: Message) throws(Refusal) -> FileInfo? {
        guard let file = message.file, file.size <= Self.maxBytes, let type = MediaType(file.contentType),
            !type.isActive, [.image, .video, .audio].contains(type.contentType)
        else { return nil }
        let folder = try files.folder { descriptor throws(Refusal) in
            _ = try stores.objects { store throws(StoreError) in
                try store.fetch(UploadFile.key(message), into: descriptor, atMost: nil)
            }
        }
        defer { folder.remove() }
        if type.contentType == .image { return try picture(folder, message, file) }
        guard let duration = tools.duration(of: folder.path) else { return nil }
        var described = file
        described.media = FileMedia(duration: duration)
        return described
    }

    private func picture(_ folder: any WorkFolder, _ message: Message, _ file: FileInfo) throws(Refusal) -> FileInfo? {
        let picture = tools.describe(picture: folder.path)
        var described = file
        described.media = picture.media
        if picture.hasLostLocation {
            described.size = try put(folder.part(folder.path), as: UploadFile.key(message), file.contentType)
            log.info("a picture's location was removed", metadata: ["message": "\(message.id)"])
        }
        if let thumbnail = picture.thumbnail {
            _ = try put(folder.part(thumbnail), as: UploadFile.thumbnailKey(message.id), "image/jpeg")
            described.thumbnailURL = FileInfo.thumbnailPath(of: message.id)
        }
        return described == file ? nil : described
    }

    /// - Returns: its size in bytes.
    private func put(_ file: FilePart, as key: String, _ contentType: String) throws(Refusal) -> Int64 {
        try stores.objects { store throws(StoreError) in
            try store.put(key, contentType: contentType, from: file)
        }
        return file.length
    }
}
