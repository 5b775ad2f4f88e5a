import ChatCore
import ChatProcess
import Glibc

/// A file that an import reads, or the standard input (`-`). Whatever waits for somebody else is refused: a pipe with a name
/// that nobody writes to would hold up the import for ever.
final class InputFile {
    /// For sentences: without what would break a terminal.
    let name: String
    private let descriptor: Int32

    init(_ path: String) throws(OperatorError) {
        name = path == "-" ? "the standard input" : Self.shown(path)
        guard path != "-" else {
            descriptor = STDIN_FILENO
            return
        }
        descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw Self.failed("read \(name)") }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { throw Self.failed("read \(name)") }
        switch facts.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw OperatorError("\(name) is a folder")
        // The shell's `<(…)`, and /dev/stdin.
        case _ where Self.isOfTheSystem(path): break
        default: throw OperatorError("\(name) is no file: - reads the standard input")
        }
    }

    deinit { if descriptor > STDIN_FILENO { close(descriptor) } }

    /// 0: the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(OperatorError) -> Int {
        do throws(SystemError) { return try StandardFiles.read(descriptor, into: buffer) } catch {
            throw OperatorError("cannot read \(name): \(String(cString: strerror(error.code)))")
        }
    }

    static func shown(_ path: String) -> String { printable(path, atMost: 1000) }

    static func failed(_ what: String) -> OperatorError {
        OperatorError("cannot \(what): \(String(cString: strerror(errno)))")
    }

    private static func isOfTheSystem(_ path: String) -> Bool {
        ["/dev/", "/proc/self/fd/"].contains { path.utf8.starts(with: $0.utf8) }
    }
}
