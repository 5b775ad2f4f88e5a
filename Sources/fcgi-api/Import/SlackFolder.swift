import ChatCore
import ChatProcess
import Glibc

/// The folder of an export. What cannot be read is an error: a loss that nobody reads of would be noticed when Slack is gone.
struct SlackFolder {
    private let path: String

    init(_ path: String) { self.path = path }

    /// For sentences.
    var name: String { InputFile.shown(path) }

    func file(_ inside: String) throws(OperatorError) -> InputFile { try InputFile("\(path)/\(inside)") }

    /// The first folder of these that is here; nil: none is.
    func first(_ names: [String]) throws(OperatorError) -> String? {
        for name in names where Self.isPlain(name) {
            var facts = stat()
            if stat("\(path)/\(name)", &facts) == 0 { return name }
            guard errno == ENOENT || errno == ENAMETOOLONG else {
                throw InputFile.failed("read \(InputFile.shown("\(path)/\(name)"))")
            }
        }
        return nil
    }

    private static func isPlain(_ name: String) -> Bool {
        !name.isEmpty && !name.utf8.contains(UInt8(ascii: "/")) && !name.utf8.contains(0) && !areSameBytes(name, "..")
            && !areSameBytes(name, ".")
    }

    /// The names in a folder, in the order of bytes, without hidden ones.
    func files(_ inside: String) throws(OperatorError) -> [String] {
        let whole = inside.isEmpty ? path : "\(path)/\(inside)"
        guard let directory = opendir(whole) else {
            throw InputFile.failed("read the folder \(InputFile.shown(whole))")
        }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(directory) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.utf8.first != UInt8(ascii: ".") { names.append(name) }
        }
        guard errno == 0 else { throw InputFile.failed("read the folder \(InputFile.shown(whole))") }
        return ByteText.sorted(names)
    }
}
