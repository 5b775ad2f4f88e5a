import Glibc

/// A setting as it is in force.
public struct SettingInForce: Sendable, Equatable {
    public enum Origin: String, Sendable { case environment, file, `default` }

    public let name: String
    /// Secrets are `***`.
    public let value: String
    public let origin: Origin
}

extension Settings {
    private final class Recorder: SettingsSource {
        let source: any SettingsSource
        var found: [String: (value: String, isGiven: Bool)] = [:]

        init(_ source: any SettingsSource) { self.source = source }

        func value(_ name: String) -> String? { source.value(name) }
        func decided(_ name: String, _ value: String) {
            found[name] = (value, source.value(name)?.isEmpty == false)
        }
    }

    /// All of them, by name, without a word that is secret.
    public static func inForce(_ source: some SettingsSource) throws(SettingsError) -> [SettingInForce] {
        let recorder = Recorder(source)
        _ = try Settings(recorder)
        return recorder.found.sorted { $0.key < $1.key }.map { name, found in
            SettingInForce(
                name: name, value: shown(name, found.value),
                origin: !found.isGiven ? .default : getenv(name) != nil ? .environment : .file)
        }
    }

    private static let secretEnds = ["SECRET", "KEY", "TOKEN", "PASSWORD", "HEADERS"]
    /// The key that the broker hashes to choose a queue (room or user), and the half of a pair that browsers get.
    private static let noSecrets: Set = ["RABBITMQ_HASH_KEY", "VAPID_PUBLIC_KEY"]

    /// Of addresses with blanks between them.
    private static func withoutQueries(_ addresses: [UInt8]) -> [UInt8] {
        let shown = addresses.split(separator: 0x20, omittingEmptySubsequences: false).map { address in
            guard let start = address.firstIndex(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) else {
                return Array(address)
            }
            return Array(address[...start]) + Array("***".utf8)
        }
        return Array(shown.joined(separator: [0x20]))
    }

    /// Hides too much rather than too little: of an address everything between the user's name and the last `@`, and
    /// everything from a password's name on.
    static func shown(_ name: String, _ value: String) -> String {
        guard !value.isEmpty else { return "" }
        if !noSecrets.contains(name), secretEnds.contains(where: { name.hasSuffix($0) }) { return "***" }
        var bytes = Array(value.utf8)
        let lower = bytes.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
        for word in ["password", "passwd", "secret", "token"] {
            guard let place = lower.firstRange(of: Array(word.utf8)),
                name.hasSuffix("URL") || name.hasSuffix("ENDPOINT")
            else { continue }
            bytes = Array(bytes[..<min(bytes.count, place.upperBound)]) + Array("=***".utf8)
        }
        // The servers' parameters are known, and those that are secret are hidden by now.
        if name.hasSuffix("URL") || name.hasSuffix("ENDPOINT"),
            !["DATABASE_", "REDIS_", "RABBITMQ_"].contains(where: { name.utf8.starts(with: $0.utf8) })
        {
            bytes = withoutQueries(bytes)
        }
        guard let start = bytes.firstRange(of: Array("://".utf8))?.upperBound,
            let end = bytes.lastIndex(of: UInt8(ascii: "@")), end >= start
        else { return String(decoding: bytes, as: UTF8.self) }
        let user = bytes[start..<end].firstIndex(of: UInt8(ascii: ":")) ?? end
        let hidden = user < end ? Array(":***".utf8) : []
        return String(decoding: bytes[..<user] + hidden + bytes[end...], as: UTF8.self)
    }
}

extension SettingsError {
    /// Each problem with the line that it is about, where a line of the file is in force.
    ///
    /// - Parameter text: of a `.env` file.
    public func placed(in path: String, _ text: [UInt8]) -> SettingsError {
        var lines: [String: Int] = [:]
        for (index, line) in text.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            guard let end = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let name = line[..<end].filter { $0 != 0x20 && $0 != 0x09 }
            lines[String(decoding: name, as: UTF8.self)] = index + 1
        }
        return SettingsError(
            problems: problems.map { problem in
                let name = String(decoding: problem.utf8.prefix(while: SettingsError.isOfName), as: UTF8.self)
                guard let line = lines[name], getenv(name) == nil else { return problem }
                return "\(path), line \(line): \(problem)"
            })
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || (0x30...0x39).contains(byte)
            || byte == UInt8(ascii: "_")
    }
}
