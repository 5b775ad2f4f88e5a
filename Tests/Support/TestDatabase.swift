public import ChatAdapters
import ChatCore

/// A migrated database for one test; dropped with the test stack.
public final class TestDatabase: Sendable {
    public let url: String

    public init(migrated: Bool = true) throws {
        let name = "test_" + UUID128.v7(at: systemClock()).description.filter { $0 != "-" }
        _ = try TestServers.postgres().query("CREATE DATABASE \(unsafeSQL: name)")
        // libpq uses the last of two equal keywords, in a connection string and in a URI's query.
        let base = TestServers.settings!.database.url
        url =
            base.contains("://") ? base + (base.contains("?") ? "&" : "?") + "dbname=\(name)" : base + " dbname=\(name)"
        if migrated { _ = try migrations().up() }
    }

    public func connection() -> PostgresConnection { PostgresConnection(url: url, applicationName: "test") }

    public func migrations() -> PostgresMigrations {
        PostgresMigrations(connection(), directory: TestServers.settings!.database.migrationsDirectory)
    }
}
