import Glibc

/// A name in a settings file that is not a setting.
public struct UnknownName: Sendable, Equatable {
    public let name: String
    public let line: Int
    /// The setting that was probably meant; nil when none is similar.
    public let nearest: String?
}

extension Settings {
    private final class Recorder: SettingsSource {
        var asked: Set<String> = []
        func value(_ name: String) -> String? {
            asked.insert(name)
            return nil
        }
    }

    /// The names of all settings.
    public static let names: Set<String> = {
        let recorder = Recorder()
        _ = try? Settings(recorder)
        return recorder.asked
    }()

    /// - Parameter text: the content of a `.env` file.
    public static func unknownNames(in text: [UInt8]) -> [UnknownName] {
        var unknown: [UnknownName] = []
        for (index, line) in text.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            guard let end = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let name = String(decoding: line[..<end].filter { $0 != 32 && $0 != 9 }, as: UTF8.self)
            guard !name.isEmpty, name.utf8.first != UInt8(ascii: "#"), !names.contains(name) else { continue }
            let best = names.map { ($0, distance(Array($0.utf8), Array(name.utf8))) }.min {
                ($0.1, $0.0) < ($1.1, $1.0)
            }
            let isMeant = best.map { $0.1 <= max(1, min(3, name.utf8.count / 4)) } ?? false
            unknown.append(UnknownName(name: name, line: index + 1, nearest: isMeant ? best?.0 : nil))
        }
        return unknown
    }
}

/// The edit distance: bytes to add, remove or replace to turn one into the other.
func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
    var row = Array(0...second.count)
    for (index, byte) in first.enumerated() {
        var diagonal = row[0]
        row[0] = index + 1
        for (column, other) in second.enumerated() {
            let replaced = diagonal + (byte == other ? 0 : 1)
            diagonal = row[column + 1]
            row[column + 1] = min(replaced, diagonal + 1, row[column] + 1)
        }
    }
    return row[second.count]
}
