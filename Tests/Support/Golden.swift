import ChatAdapters
import Glibc

/// Recorded texts of what travels: frames, documents, commands, statements. A change of them breaks clients or the last
/// release, so it must be seen. `GOLDEN=record swift test --filter Golden` records them anew.
public enum Golden {
    public typealias Line = (name: String, text: String)

    /// - Returns: a sentence for each difference between `lines` and the recorded file.
    public static func differences(from file: String, _ lines: [Line]) -> [String] {
        // Only where it is asked for: otherwise a missing file is a difference.
        if getenv("GOLDEN").map({ String(cString: $0) }) == "record" { record(lines, in: path(of: file)) }
        let recorded = Self.lines(of: file)
        let known = Dictionary(recorded.map { ($0.name, $0.text) }) { first, _ in first }
        let names = Set(lines.map(\.name))
        var found = lines.filter { known[$0.name] != $0.text }.map { line in
            "\(line.name) is\n\(line.text)\nnot\n\(known[line.name] ?? "recorded")"
        }
        found += recorded.filter { !names.contains($0.name) }.map { "\($0.name) is recorded, but not made" }
        if names.count != lines.count { found.append("two lines have one name") }
        return found
    }

    private static func path(of file: String) -> String {
        let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
        return folder.joined(separator: "/") + "/Golden/" + file
    }

    /// The recorded lines; none without the file.
    public static func lines(of file: String) -> [Line] {
        (readFile(path(of: file)) ?? "").split(separator: "\n").map { line in
            let parts = line.split(separator: "\t", maxSplits: 1)
            return (name: String(parts[0]), text: parts.count == 2 ? String(parts[1]) : "")
        }
    }

    private static func record(_ lines: [Line], in path: String) {
        guard let file = fopen(path, "w") else { return }
        defer { fclose(file) }
        for line in lines { fputs("\(line.name)\t\(line.text)\n", file) }
    }

    public static func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16)
        }
    }

    public static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}
