import Glibc

public enum HostName {
    /// The machine's name.
    public static var machine: String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The name of a set of programs that share a RUN_DIR: several sets on one machine count as several hosts.
    public static func own(_ settings: Settings) -> String { "\(machine):\(settings.runDirectory)" }
}
