public import ChatAdapters
public import ChatCore

/// The private servers that `make test` starts. Without them, tests that need them are skipped with this reason.
public enum TestServers {
    public static let reason = "needs the private servers: run them with make test"

    /// The settings of the test stack, when TEST_ENV_FILE names them.
    public static let settings: Settings? = {
        guard let file = (try? EnvironmentSettings(file: nil))?.value("TEST_ENV_FILE") else { return nil }
        return try? Settings(EnvironmentSettings(file: file))
    }()

    public static var isAvailable: Bool { settings != nil }

    public static func postgres() -> PostgresConnection {
        PostgresConnection(url: settings!.database.url, applicationName: "test")
    }

    public static func redis() throws -> RedisConnection { try RedisConnection(url: settings!.redisURL) }
}
