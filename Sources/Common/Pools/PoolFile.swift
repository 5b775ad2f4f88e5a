/// A file of pools: sections in brackets, `key = value` lines, and comments that begin with `;` or `#`.
///
/// It reads bytes: a value is never compared or cut by characters. Every bound is named in ``Limit``.
struct PoolFile {
    enum Limit {
        static let files = 64
        static let pools = 64
        static let fileBytes = 65_536
        static let lineBytes = 4096
    }

    struct PoolLine {
        let key: String
        let value: String
        let line: Int
    }

    struct Section {
        let name: String
        let line: Int
        var entries: [PoolLine] = []
    }

    let path: String
    private(set) var sections: [Section] = []
    /// Each begins with the file and the line.
    private(set) var problems: [String] = []

    private let isBounded: Bool

    /// - Parameter isBounded: false for a text of our own, which may be longer than the file from which it was made.
    init(path: String, _ text: [UInt8], isBounded: Bool = true) {
        self.path = path
        self.isBounded = isBounded
        guard text.count <= Limit.fileBytes || !isBounded else {
            problem(1, "the file has more than \(Limit.fileBytes) bytes")
            return
        }
        // Editors on Windows may begin a file with a byte order mark.
        let start = text.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        for (index, line) in text[start...].split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            read(line.last == 13 ? line.dropLast() : line, index + 1)
        }
    }

    private mutating func problem(_ line: Int, _ text: String) { problems.append("\(path):\(line): \(text)") }

    private mutating func read(_ bytes: ArraySlice<UInt8>, _ line: Int) {
        guard bytes.count <= Limit.lineBytes || !isBounded else {
            return problem(line, "the line has \(bytes.count) bytes, at most \(Limit.lineBytes) are read")
        }
        guard !bytes.contains(where: { $0 < 0x20 && $0 != 9 || $0 == 0x7f }),
            let text = String(validating: bytes, as: UTF8.self)
        else { return problem(line, "the line is not plain UTF-8 text") }
        let words = trimmed(text)
        guard let first = words.utf8.first, first != UInt8(ascii: ";"), first != UInt8(ascii: "#") else { return }
        if first == UInt8(ascii: "[") { return begin(words, line) }
        guard let equals = words.utf8.firstIndex(of: UInt8(ascii: "=")) else {
            // The message does not show the line, which may contain a secret for `env`.
            return problem(line, "the line is neither [a section] nor key = value")
        }
        add(trimmed(words[..<equals]), trimmed(words[words.utf8.index(after: equals)...]), line)
    }

    private mutating func begin(_ words: String, _ line: Int) {
        guard words.utf8.last == UInt8(ascii: "]") else {
            return problem(line, "\"\(words)\" is not a section: write [name] alone in a line")
        }
        let name = trimmed(Substring(words.utf8.dropFirst().dropLast()))
        if let problem = Self.problem(inName: name) {
            self.problem(line, problem)
        } else if let other = sections.first(where: { areSameBytes($0.name, name) }) {
            problem(line, "the pool \(name) is already in line \(other.line)")
        }
        sections.append(Section(name: name, line: line))
    }

    private mutating func add(_ key: String, _ text: String, _ line: Int) {
        guard let last = sections.indices.last else {
            return problem(line, "\(key) stands before the first [section]: no pool has it")
        }
        guard let value = Self.unquoted(text) else {
            return problem(line, "\(key): the quotation marks do not match")
        }
        if let other = sections[last].entries.first(where: { areSameBytes($0.key, key) }) {
            return problem(line, "\(key) is already in line \(other.line)")
        }
        sections[last].entries.append(PoolLine(key: key, value: value, line: line))
    }

    /// The name is part of a socket's path, of an upstream's name in nginx, and of a metric's label.
    static func problem(inName name: String) -> String? {
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
            default: false
            }
        }
        guard isPlain, (1...30).contains(name.utf8.count), name.utf8.first.map({ $0 >= 0x61 }) == true else {
            return
                "\"\(name)\" is not a pool's name: 1 to 30 lower-case letters, digits and underscores, a letter first"
        }
        return nil
    }

    /// A value may be in double quotation marks; inside them, a backslash escapes a quotation mark or a backslash.
    static func unquoted(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        let (mark, protector) = (UInt8(ascii: "\""), UInt8(ascii: "\\"))
        guard bytes.first == mark else { return text }
        var (result, index): ([UInt8], Int) = ([], 1)
        while index < bytes.count, bytes[index] != mark {
            if bytes[index] == protector, index + 1 < bytes.count, [mark, protector].contains(bytes[index + 1]) {
                index += 1
            }
            result.append(bytes[index])
            index += 1
        }
        return index == bytes.count - 1 ? String(decoding: result, as: UTF8.self) : nil
    }

    /// The value in the syntax of the file, in quotation marks only if it needs them.
    static func written(_ value: String) -> String {
        let isPlain = value.utf8.first != UInt8(ascii: "\"") && areSameBytes(trimmed(value), value)
        return isPlain ? value : quoted(value)
    }

    /// The opposite of ``unquoted(_:)``.
    static func quoted(_ value: String) -> String {
        var result: [UInt8] = [UInt8(ascii: "\"")]
        for byte in value.utf8 {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { result.append(UInt8(ascii: "\\")) }
            result.append(byte)
        }
        return String(decoding: result + [UInt8(ascii: "\"")], as: UTF8.self)
    }
}
