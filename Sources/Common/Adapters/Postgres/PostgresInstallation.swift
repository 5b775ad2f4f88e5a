public import ChatCore

/// Values that must never change in the life of an installation.
public struct PostgresInstallation {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Keeps the namespace of users' ids the first time, and compares it from then on. With another one every user whom
    /// the host names by text would be somebody else, without rooms.
    public func keep(userNamespace: UUID128) throws {
        _ = try connection.query(
            "INSERT INTO installation (user_namespace) VALUES (\(userNamespace)) ON CONFLICT DO NOTHING")
        try check(userNamespace: userNamespace)
    }

    /// Throws an ``OtherNamespace`` when the database's is another one.
    public func check(userNamespace: UUID128) throws {
        let kept = try connection.query("SELECT user_namespace FROM installation").first?.uuid(0)
        if let kept, kept != userNamespace { throw OtherNamespace(kept: kept, given: userNamespace) }
    }

    /// For the start of a program: refuses the settings of another installation. A database that cannot be asked refuses
    /// nothing, since programs start without it.
    public static func refuseOther(_ settings: Settings, program: String) throws(OtherNamespace) {
        let connection = PostgresConnection(
            settings.database, applicationName: "\(program) start", statementTimeout: .seconds(2))
        defer { connection.close() }
        do {
            try PostgresInstallation(connection).check(userNamespace: settings.tokens.userNamespace)
        } catch {
            if let other = error as? OtherNamespace { throw other }
        }
    }

    public struct OtherNamespace: Error, CustomStringConvertible {
        let kept: UUID128
        let given: UUID128

        public var description: String {
            "USER_NAMESPACE is \(given), and the users of this database have the ids of \(kept): set it back"
        }
    }
}
