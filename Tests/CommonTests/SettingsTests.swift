import ChatCore
import Glibc
import Synchronization
import TestSupport
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

    @Test(
        arguments: [
            ("SOCKET_MODE", "0", "SOCKET_MODE=0: no client could connect"),
            ("SOCKET_MODE", "0440", "SOCKET_MODE=0440: no client could connect"),
            ("SOCKET_MODE", "+660", "SOCKET_MODE=+660 is not a file mode"),
            ("UPLOAD_LINK_SECRET", "seen-by-nobody", "UPLOAD_LINK_SECRET has fewer than 32 bytes"),
            ("RABBITMQ_PREFIX", String(repeating: "p", count: 201), "RABBITMQ_PREFIX has 201 bytes, at most 200"),
            ("RABBITMQ_PREFIX", "amq", "RABBITMQ_PREFIX=amq: "),
            ("RABBITMQ_PREFIX", "amq.x", "RABBITMQ_PREFIX=amq.x: "),
            ("WS_IDLE_SECONDS", "30", "WS_IDLE_SECONDS=30 is not above WS_HEARTBEAT=30"),
            ("WS_HEARTBEAT", "3600", "WS_IDLE_SECONDS=90 is not above WS_HEARTBEAT=3600"),
            ("CLAMD_ADDRESS", "foo", "CLAMD_ADDRESS=foo is neither"),
            ("CLAMD_ADDRESS", "unix:", "CLAMD_ADDRESS=unix: is neither"),
            ("CLAMD_ADDRESS", "unix:run/c.sock", "CLAMD_ADDRESS=unix:run/c.sock is neither"),
            ("CLAMD_ADDRESS", "unix:/" + String(repeating: "c", count: 107), "CLAMD_ADDRESS=unix:/c"),
            ("CLAMD_ADDRESS", ":3310", "CLAMD_ADDRESS=:3310 is neither"),
            ("CLAMD_ADDRESS", "h:0", "CLAMD_ADDRESS=h:0 is neither"),
            ("CLAMD_ADDRESS", "h:65536", "CLAMD_ADDRESS=h:65536 is neither"),
            ("CLAMD_ADDRESS", "h:+1", "CLAMD_ADDRESS=h:+1 is neither"),
        ])
    func aValueThatCannotWorkIsRefused(_ name: String, _ value: String, _ said: String) {
        let error = #expect(throws: SettingsError.self) { try Settings(testing: [name: value]) }
        #expect(error?.problems.contains { $0.hasPrefix(said) } == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("seen-by-nobody") != true)
    }

    @Test(
        arguments: [
            ("SOCKET_MODE", "0222"), ("UPLOAD_LINK_SECRET", String(repeating: "x", count: 32)),
            ("RABBITMQ_PREFIX", String(repeating: "p", count: 200)), ("RABBITMQ_PREFIX", "amqp"),
            ("WS_IDLE_SECONDS", "31"), ("CLAMD_ADDRESS", "unix:/run/clamd.sock"), ("CLAMD_ADDRESS", "[::1]:3310"),
            ("CLAMD_ADDRESS", "clamd.example:3310"),
        ])
    func theNearestGoodValueIsTaken(_ name: String, _ value: String) throws {
        _ = try Settings(testing: [name: value])
    }

    @Test func theLongestPrefixFitsIntoAQueuesName() throws {
        let broker = try Settings(testing: ["RABBITMQ_PREFIX": String(repeating: "p", count: 200)]).rabbitMQ
        let last = QueueLayout(generation: .max, total: 1000, byUser: false)
        #expect(broker.queueName(last, 999).utf8.count <= 255)
    }

    @Test(
        arguments: [
            ("WEBHOOK_URL", "https://u:geheim@h/x?key=geheim&b=geheim#geheim"),
            ("PUSH_WEBHOOK_URL", "https://h/?geheim"),
            ("MESSAGE_CHECK_URL", "https://h/x?key=geheim"),
            ("SESSION_CHECK_URL", "https://h/x?key=geheim"),
            ("JWT_JWKS_URL", "https://a/k?x=geheim i=https://b/k?x=geheim"),
        ])
    func theQueryOfAnAddressIsHidden(_ name: String, _ value: String) throws {
        var values = ["WEBHOOK_SECRET": String(repeating: "s", count: 32)]
        values[name] = value
        let shown = try Settings.inForce(Self.good.merging(values) { $1 }).first { $0.name == name }
        #expect(shown?.value.contains("geheim") == false && shown?.value.contains("h/") != (name == "JWT_JWKS_URL"))
    }

    @Test func aMissingFileIsOneSentence() {
        #expect(throws: SettingsError.self) { try EnvironmentSettings(file: "/nowhere/.env") }
    }
}
