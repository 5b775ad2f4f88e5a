import ChatCore
import Glibc
import Synchronization
import Testing

@Suite struct SettingsTests {
    private final class Recording: SettingsSource {
        var values: [String: String]
        private(set) var asked: Set<String> = []
        init(_ values: [String: String]) { self.values = values }
        func value(_ name: String) -> String? {
            asked.insert(name)
            return values[name]
        }
    }

    private static let good = ["DATABASE_URL": "x", "JWT_SECRET": String(repeating: "s", count: 32)]

    @Test func theExampleNamesEverySettingAndItsDefault() throws {
        let example = try EnvironmentSettings(file: ".env.example")
        let asked = Recording(Self.good)
        let byDefault = try Settings(asked)
        for name in asked.asked { #expect(example.value(name) != nil, "\(name) is missing from .env.example") }
        var values = Self.good
        for name in asked.asked { values[name] = values[name] ?? example.value(name) }
        let byExample = try Settings(Recording(values))
        #expect("\(byExample)" == "\(byDefault)")
    }

    @Test func everyBadValueIsNamedAtOnce() throws {
        let error = try #require(throws: SettingsError.self) {
            try Settings(
                Recording([
                    "JWT_SECRET": "short-and-secret", "RABBITMQ_TOTAL_QUEUE": "many", "LOG_LEVEL": "loud",
                    "WS_MAX_FRAME": "1",
                ]))
        }
        for name in ["DATABASE_URL", "JWT_SECRET", "RABBITMQ_TOTAL_QUEUE", "LOG_LEVEL", "WS_MAX_FRAME"] {
            #expect(error.problems.contains { $0.hasPrefix(name) })
        }
        #expect(!error.description.contains("short-and-secret"))
    }

    @Test func aMissingFileIsOneSentence() {
        #expect(throws: SettingsError.self) { try EnvironmentSettings(file: "/nowhere/.env") }
    }
}
