import ChatProcess
import Glibc

/// PostgreSQL on this machine: a role and a database with the name of the system user who runs the programs, so that
/// peer authentication works without a password.
struct SetupDatabase {
    let work: SetupWork

    func prepare(_ settings: inout SettingsFile, _ answers: SetupAnswers) throws {
        if let url = answers.databaseURL { return try settings.set("DATABASE_URL", url) }
        guard answers.createsDatabase else { return }
        let role = getuid() == 0 ? "chat" : getpwuid(getuid()).map { String(cString: $0.pointee.pw_name) } ?? "chat"
        if try ask("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'", role) == "0" {
            try work.does("make the role \(role) in PostgreSQL") { _ = try ask("CREATE ROLE \"{role}\" LOGIN", role) }
        }
        if try ask("SELECT count(*) FROM pg_database WHERE datname = 'chat'", role) == "0" {
            try work.does("make the database chat in PostgreSQL") {
                _ = try ask("CREATE DATABASE chat OWNER \"{role}\" ENCODING 'UTF8' TEMPLATE template0", role)
            }
        }
        let folder = try ask("SHOW unix_socket_directories", role).split(separator: ",").first.map(String.init)
        let port = try ask("SHOW port", role)
        let more = port == "5432" ? "" : "&port=\(port)"
        try settings.set("DATABASE_URL", "postgresql://\(role)@/chat?host=\(folder ?? "/var/run/postgresql")\(more)")
    }

    private func ask(_ sql: String, _ role: String) throws -> String {
        guard !role.unicodeScalars.contains(where: { $0 == "'" || $0 == "\"" }) else {
            throw OperatorError(
                "the user \(role) has a quote in its name: make the role by hand and give --database-url")
        }
        // psql complains when the postgres user cannot enter the current folder, such as root's.
        let become =
            ["env", "-C", "/"]
            + (getuid() == 0 ? ["runuser", "-u", "postgres", "--"] : ["sudo", "-n", "-u", "postgres"])
        let words = become + ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", "-"]
        let text = sql.split(separator: "{role}", omittingEmptySubsequences: false).joined(separator: role)
        let ending = OtherProgram.run(words, input: text + ";\n")
        guard let ending, ending.isGood else {
            throw OperatorError(
                "PostgreSQL on this machine could not be asked as its user postgres (\(ending?.lastLine ?? "no psql")): "
                    + "install postgresql, start it and run setup as root, or give --database-url")
        }
        return ending.text
    }
}

/// RabbitMQ on this machine: a user and a vhost of our own.
struct SetupBroker {
    let work: SetupWork

    func prepare(_ settings: inout SettingsFile, _ answers: SetupAnswers) throws {
        if let url = answers.brokerURL { return try settings.set("RABBITMQ_URL", url) }
        guard answers.createsBrokerUser else { return }
        let vhosts = try ask(["list_vhosts", "name"])
        if !vhosts.split(separator: "\n").contains("chat") {
            try work.does("make the vhost chat in RabbitMQ") { _ = try ask(["add_vhost", "chat"]) }
        }
        let hasUser = try ask(["list_users"]).split(separator: "\n").contains { $0.hasPrefix("chat\t") }
        // The password of an existing user is known only if our settings contain it.
        if hasUser, settings["RABBITMQ_URL"]?.hasPrefix("amqp://chat:") ?? false { return }
        let password = SetupAnswers.newSecret()
        try work.does(hasUser ? "give RabbitMQ's user chat a new password" : "make the user chat in RabbitMQ") {
            _ = try ask([hasUser ? "change_password" : "add_user", "chat"], input: password + "\n")
            _ = try ask(["set_permissions", "-p", "chat", "chat", ".*", ".*", ".*"])
        }
        try settings.set("RABBITMQ_URL", "amqp://chat:\(password)@127.0.0.1:5672/chat")
    }

    private func ask(_ words: [String], input: String = "") throws -> String {
        guard let ending = OtherProgram.run(["rabbitmqctl", "-q"] + words, input: input) else {
            throw OperatorError("rabbitmqctl is not here: install rabbitmq-server, or give --rabbitmq-url")
        }
        guard ending.isGood else {
            throw OperatorError(
                "RabbitMQ on this machine could not be asked to \(words[0]): start rabbitmq-server and run setup as root, or give "
                    + "--rabbitmq-url")
        }
        return ending.text
    }
}

/// The systemd units of the package.
struct SetupServices {
    private static let units = [
        "chat-ws-relay.socket", "chat-ws-relay.service", "chat-fcgi-api.service", "chat-queue-worker.service",
    ]
    let work: SetupWork

    func start(settingsChanged: Bool) throws {
        guard access("/run/systemd/system", F_OK) == 0 else {
            print(
                "systemd does not run here: start `fcgi-api serve`, `ws-relay serve` and `queue-worker serve` yourself")
            return
        }
        for unit in Self.units {
            if ask(["is-enabled", unit]) != "enabled" {
                try work.does("enable \(unit)") { try must(["enable", "-q", unit], unit) }
            }
            if ask(["is-active", unit]) != "active" {
                try work.does("start \(unit)") { try must(["start", unit], unit) }
            } else if settingsChanged, unit.hasSuffix(".service") {
                try work.does("reload \(unit)") { try must(["reload", unit], unit) }
            }
        }
    }

    private func ask(_ words: [String]) -> String { OtherProgram.run(["systemctl"] + words)?.text ?? "" }

    private func must(_ words: [String], _ unit: String) throws {
        let ending = OtherProgram.run(["systemctl"] + words)
        guard ending?.isGood ?? false else {
            throw OperatorError(
                "systemctl could not \(words[0]) \(unit) (\(ending?.lastLine ?? "it is not here")): `journalctl -u \(unit)` "
                    + "says why")
        }
    }
}
