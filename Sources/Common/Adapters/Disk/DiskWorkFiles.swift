public import ChatCore
import Glibc

public final class DiskWorkFiles: WorkFiles {
    private let folder: String

    public init(_ folder: String) { self.folder = folder }

    public func file(_ fill: (Int32) throws(Refusal) -> Int64) throws(Refusal) -> FilePart {
        let file = try TemporaryFile(in: folder)
        try file.continueBehind(try fill(file.descriptor))
        return file.part()
    }

    public func folder(_ fill: (Int32) throws(Refusal) -> Void) throws(Refusal) -> any WorkFolder {
        let made = try DiskWorkFolder(in: folder)
        do throws(Refusal) { try made.write(fill) } catch {
            made.remove()
            throw error
        }
        return made
    }
}

private final class DiskWorkFolder: WorkFolder {
    private let folder: String
    var path: String { "\(folder)/file" }

    init(in parent: String) throws(Refusal) {
        var template = Array("\(parent)/chat-media-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw .disk("the folder of temporary files", errno) }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func write(_ fill: (Int32) throws(Refusal) -> Void) throws(Refusal) {
        let file = try OpenFile(path, O_RDWR | O_CREAT | O_EXCL)
        try fill(file.descriptor)
    }

    func part(_ path: String) throws(Refusal) -> FilePart {
        let file = try OpenFile(path, O_RDONLY)
        let size = Int64(lseek(file.descriptor, 0, SEEK_END))
        return FilePart(descriptor: file.descriptor, offset: 0, length: size, owner: file)
    }

    func remove() { DiskFile.removeFolder(folder) }
}

/// Closed with its last reference.
private final class OpenFile: Sendable {
    let descriptor: Int32

    init(_ path: String, _ flags: Int32) throws(Refusal) {
        descriptor = open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .unavailable("the folder of temporary files") }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }
}
