import Glibc

/// A file that an operator names: a regular file of bounded size. Reading a device might never end, and a pipe might
/// wait for ever for a writer.
public enum TextFile {
    /// The end of the sentence "… cannot be read: …".
    public struct Problem: Error, CustomStringConvertible, Equatable {
        public let description: String
    }

    /// Bytes of a file of settings.
    public static let maxBytes = 1 << 20

    /// Nil when the file can be opened; its content may still be wrong.
    public static func problem(_ path: String) -> Problem? {
        do throws(Problem) { close(try opened(path, atMost: .max)) } catch { return error }
        return nil
    }

    public static func read(_ path: String, atMost limit: Int = maxBytes) throws(Problem) -> [UInt8] {
        let descriptor = try opened(path, atMost: limit)
        defer { close(descriptor) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Problem.system(errno) }
            guard count > 0 else { return text }
            text += buffer.prefix(count)
            // The reported size may be wrong: files in /proc have none.
            guard text.count <= limit else { throw Problem.tooLarge(limit) }
        }
    }

    private static func opened(_ path: String, atMost limit: Int) throws(Problem) -> Int32 {
        var facts = stat()
        guard stat(path, &facts) == 0 else { throw Problem.system(errno) }
        switch facts.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw Problem(description: "it is a folder")
        case S_IFIFO: throw Problem(description: "it is a pipe, not a file")
        case S_IFSOCK: throw Problem(description: "it is a socket, not a file")
        default: throw Problem(description: "it is a device, not a file")
        }
        guard facts.st_size <= limit else { throw Problem.tooLarge(limit) }
        // Another kind of file may have taken its place.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw Problem.system(errno) }
        return descriptor
    }
}

extension TextFile.Problem {
    fileprivate static func system(_ code: Int32) -> Self { Self(description: String(cString: strerror(code))) }
    fileprivate static func tooLarge(_ limit: Int) -> Self {
        Self(description: "it is larger than \(limit >= 1 << 20 ? "\(limit >> 20) MiB" : "\(limit >> 10) KiB")")
    }
}

/// The lines `NAME=value` of a `.env` file. Empty lines, and lines that begin with `#`, are comments. If a name occurs
/// several times, the last line is in force.
struct EnvironmentFile {
    private(set) var values: [String: String] = [:]

    /// - Throws: one sentence, which never shows the file's content: a line may be a secret.
    init(_ path: String) throws(SettingsError) {
        let text: [UInt8]
        do throws(TextFile.Problem) { text = try TextFile.read(path) } catch {
            throw SettingsError(problems: ["the settings file \(path) cannot be read: \(error)"])
        }
        // Editors on Windows may begin a file with a byte order mark.
        let start = text.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        for (index, whole) in text[start...].split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            let line = Self.trimmed(whole)
            guard let first = line.first, first != UInt8(ascii: "#") else { continue }
            let place = "\(path), line \(index + 1)"
            guard !line.contains(0) else { throw SettingsError(problems: ["\(place): a zero byte is not text"]) }
            guard let end = line.firstIndex(of: UInt8(ascii: "=")), end > line.startIndex else {
                throw SettingsError(problems: ["\(place): this line is not of the form NAME=value"])
            }
            values[Self.text(line[..<end])] = Self.text(line[(end + 1)...])
        }
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: trimmed(bytes), as: UTF8.self)
    }

    /// Also removes the carriage return of Windows' line ends.
    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }
        let rest = bytes.drop(while: isBlank)
        guard let last = rest.lastIndex(where: { !isBlank($0) }) else { return rest.prefix(0) }
        return rest[...last]
    }
}
