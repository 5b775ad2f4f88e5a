import Glibc
public import Logging

/// Inspects a complete picture, video or audio file: dimensions, duration, thumbnail, BlurHash. It also removes the
/// location from the file. The room gets a `message_updated`.
public final class DescribeFile {
    /// Larger files are not inspected.
    private static let mostBytes: Int64 = 256 << 20

    private let stores: UploadStores
    private let tools: any MediaTools
    private let folder: String
    private let log: Logger

    /// - Parameter folder: holds a file during the inspection.
    public init(
        stores: UploadStores, tools: any MediaTools, folder: String, log: Logger
    ) {
        self.stores = stores
        self.tools = tools
        self.folder = folder
        self.log = log
    }

    /// - Returns: the file's new details; nil when nothing changed.
    public func describe(_ message: Message) throws(Refusal) -> FileInfo? {
        guard let file = message.file, file.size <= Self.mostBytes, let type = MediaType(file.contentType),
            !type.isActive, [.image, .video, .audio].contains(type.contentType)
        else { return nil }
        var template = Array("\(folder)/chat-media-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw .disk("the folder of temporary files", errno) }
        let workplace = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { removeFolder(workplace) }
        let path = "\(workplace)/file"
        try fetch(message, to: path)
        if type.contentType == .image { return try picture(path, message, file) }
        guard let duration = tools.duration(of: path) else { return nil }
        var described = file
        described.media = FileMedia(duration: duration)
        return described
    }

    private func picture(_ path: String, _ message: Message, _ file: FileInfo) throws(Refusal) -> FileInfo? {
        let picture = tools.describe(picture: path)
        var described = file
        described.media = picture.media
        if picture.hasLostLocation {
            described.size = try put(path, as: UploadFile.key(message), file.contentType)
            log.info("a picture's location was removed", metadata: ["message": "\(message.id)"])
        }
        if let thumbnail = picture.thumbnail {
            _ = try put(thumbnail, as: UploadFile.thumbnailKey(message.id), "image/jpeg")
            described.thumbnailURL = FileInfo.thumbnailPath(of: message.id)
        }
        return described == file ? nil : described
    }

    private func fetch(_ message: Message, to path: String) throws(Refusal) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .unavailable("the folder of temporary files") }
        defer { close(descriptor) }
        _ = try stores.objects { store throws(StoreError) in
            try store.fetch(UploadFile.key(message), into: descriptor, atMost: nil)
        }
    }

    /// - Returns: its size in bytes.
    private func put(_ path: String, as key: String, _ contentType: String) throws(Refusal) -> Int64 {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .unavailable("the folder of temporary files") }
        defer { close(descriptor) }
        let size = Int64(lseek(descriptor, 0, SEEK_END))
        try stores.objects { store throws(StoreError) in
            try store.put(
                key, contentType: contentType, from: FilePart(descriptor: descriptor, offset: 0, length: size))
        }
        return size
    }

    private func removeFolder(_ path: String) {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            unlink("\(path)/\(name)")
        }
        closedir(folder)
        rmdir(path)
    }
}
