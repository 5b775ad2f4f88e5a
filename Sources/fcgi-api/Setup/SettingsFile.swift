import ChatProcess
import Glibc

/// A `.env` file as lines, so that comments and order survive a change of values.
struct SettingsFile {
    private(set) var lines: [String]
    /// The names whose values ``set(_:_:)`` changed.
    private(set) var changed: [String] = []

    init(_ text: String) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
    }

    var text: String { lines.map { $0 + "\n" }.joined() }

    /// As in the programs, the last line of a name wins, and an empty value counts as absent.
    subscript(_ name: String) -> String? {
        guard let line = lines.last(where: { $0.hasPrefix("\(name)=") }) else { return nil }
        let value = line.dropFirst(name.utf8.count + 1)
        return value.isEmpty ? nil : String(value)
    }

    /// Replaces the value in its line, or appends a line.
    ///
    /// - Throws: when a `.env` file cannot hold the value.
    mutating func set(_ name: String, _ value: String) throws(OperatorError) {
        guard !value.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else {
            throw OperatorError("the value for \(name) has a line break or another control character: give it without")
        }
        guard self[name] ?? "" != value else { return }
        if let place = lines.lastIndex(where: { $0.hasPrefix("\(name)=") }) {
            lines[place] = "\(name)=\(value)"
        } else {
            lines.append("\(name)=\(value)")
        }
        changed.append(name)
    }

    /// Only the owner and the group may read it, because it contains secrets.
    ///
    /// - Parameter group: the group that may read it; nil: unchanged.
    func write(to path: String, group: gid_t?) throws(OperatorError) {
        try replaceFile(path, text, mode: 0o640, group: group)
    }
}
