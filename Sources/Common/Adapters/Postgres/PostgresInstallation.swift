public import ChatCore

/// Values that must never change in the life of an installation.
public struct PostgresInstallation {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Stores the namespace of users' ids the first time, and compares it later. With another namespace every user with
    /// a text as id would get another UUID, without rooms.
    public func keep(userNamespace: UUID128) throws {
        _ = try connection.query(
            "INSERT INTO installation (user_namespace) VALUES (\(userNamespace)) ON CONFLICT DO NOTHING")
        try check(userNamespace: userNamespace)
    }

    /// Throws an ``OtherNamespace`` when the database has another one.
    public func check(userNamespace: UUID128) throws {
        let kept = try connection.query("SELECT user_namespace FROM installation").first?.uuid(0)
        if let kept, kept != userNamespace { throw OtherNamespace(kept: kept, given: userNamespace) }
    }

    /// Throws an ``OtherPrefix`` while another host's workers use another prefix: their queues would be taken for ours.
    public func check(prefix: String, of host: String) throws {
        let workers = try PostgresQueueWorkers(connection).all()
        guard
            let other = workers.first(where: {
                !$0.seat.host.utf8.elementsEqual(host.utf8) && !$0.prefix.utf8.elementsEqual(prefix.utf8)
            })
        else { return }
        throw OtherPrefix(used: other.prefix, by: other.seat.host, given: prefix)
    }

    /// For the start of a program: refuses the settings of another installation. Without an answer from the database
    /// nothing is refused, since programs start without it.
    public static func refuseOther(_ settings: Settings, program: String) throws {
        let connection = PostgresConnection(
            settings.database, applicationName: "\(program) start", statementTimeout: .seconds(2))
        defer { connection.close() }
        let installation = PostgresInstallation(connection)
        do {
            try installation.check(userNamespace: settings.tokens.userNamespace)
            try installation.check(prefix: settings.rabbitMQ.prefix, of: HostName.own(settings))
        } catch {
            if error is OtherNamespace || error is OtherPrefix { throw error }
        }
    }

    public struct OtherNamespace: Error, CustomStringConvertible {
        let kept: UUID128
        let given: UUID128

        public var description: String {
            "USER_NAMESPACE is \(given), and the users of this database have the ids of \(kept): set it back"
        }
    }

    public struct OtherPrefix: Error, CustomStringConvertible {
        let used: String
        let by: String
        let given: String

        public var description: String {
            "RABBITMQ_PREFIX is \(given), and the queue-workers of \(by) use \(used) with the same database: give all hosts "
                + "one prefix, or stop queue-worker there first"
        }
    }
}
