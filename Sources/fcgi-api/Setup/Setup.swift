import ArgumentParser
import ChatCommands
import ChatCore
import ChatProcess
import Glibc

/// Configures an installed service until it passes a first message. Each step first checks the state and does only what
/// is missing, so a second run changes nothing.
struct Setup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "setup",
        abstract: "Connect an installed service to its servers, start it and send a message through it.",
        discussion: """
            Asks at a terminal for every value that no option gives. Secrets come from the environment \
            (DATABASE_URL, RABBITMQ_URL, REDIS_URL, S3_ACCESS_KEY, S3_SECRET_KEY), because every user of a machine can \
            see a command line. Each step checks first and does only what is missing, so a second run changes nothing. \
            A step that fails is reported in one sentence.
            """)

    @Option(name: [.customShort("c"), .customLong("config")], help: "The settings file that is written.")
    var file = "/etc/chat/.env"
    @Option(help: "PostgreSQL's connection string; put one with a password into the variable DATABASE_URL instead.")
    var databaseUrl: String?
    @Flag(help: "Make the role chat and its database in this machine's PostgreSQL, by its user postgres.")
    var createDatabase = false
    @Option(help: "RabbitMQ's URL; put one with a password into the variable RABBITMQ_URL instead.")
    var rabbitmqUrl: String?
    @Flag(help: "Make the user and the vhost chat in this machine's RabbitMQ, with a new password, by rabbitmqctl.")
    var createBrokerUser = false
    @Option(help: "Redis, such as redis://127.0.0.1:6379/0 or unix:///run/redis/redis.sock.")
    var redisUrl: String?
    @Option(help: "The store for files: disk, disk:/folder, s3 or none.")
    var storage: String?
    @Option(help: "The S3 store's address; its keys come from the environment.")
    var s3Endpoint: String?
    @Option(help: "The S3 bucket; it is made when it is missing.")
    var s3Bucket: String?
    @Option(
        help:
            "The name under which clients reach nginx, such as chat.example.org, with a port if it is not the default.")
    var domain: String?
    @Option(help: "The path before /api/v1, such as /talk; none: the site's root.")
    var prefix: String?
    @Flag(help: "Clients use http, not https.")
    var plainHttp = false
    @Option(help: "The URL at which this machine reaches nginx for the final test message; default: the clients' URL.")
    var checkUrl: String?
    @Flag(help: "Do not change the systemd units.")
    var noServices = false
    @Flag(help: "Show the planned steps without doing them.")
    var dryRun = false

    func run() throws {
        guard prefix.map({ $0.isEmpty || $0.hasPrefix("/") && !$0.hasSuffix("/") }) ?? true else {
            throw ValidationError("--prefix begins with a slash and ends without one, such as /talk")
        }
        let work = SetupWork(dryRun: dryRun)
        var settings = SettingsFile(try current())
        let answers = SetupAnswers(self, settings)
        try SetupDatabase(work: work).prepare(&settings, answers)
        try SetupBroker(work: work).prepare(&settings, answers)
        try answers.fill(&settings)
        try write(settings, work)
        let checks = SetupChecks(file: file, work: work)
        if dryRun, !settings.changed.isEmpty || settings["DATABASE_URL"] == nil {
            print("the remaining steps are checked once these settings are in place")
        } else {
            try checks.servers()
            try checks.migrate()
            if !noServices { try SetupServices(work: work).start(settingsChanged: !settings.changed.isEmpty) }
        }
        print(nginxLines(settings["PUBLIC_URL"] ?? ""))
        if !dryRun { try checks.message(checkUrl ?? settings["PUBLIC_URL"] ?? "") }
        print(work.done == 0 ? "nothing had to be changed" : "\(work.done) things \(dryRun ? "would be" : "were") done")
    }

    private func current() throws -> String {
        guard access(file, F_OK) == 0 || errno != ENOENT else { return "" }
        do throws(TextFile.Problem) { return String(decoding: try TextFile.read(file), as: UTF8.self) } catch {
            throw OperatorError("\(file) cannot be read (\(error)): run as root")
        }
    }

    private func write(_ settings: SettingsFile, _ work: SetupWork) throws {
        guard !settings.changed.isEmpty else { return }
        // Shows only names, since values may be secrets.
        try work.does("write \(settings.changed.joined(separator: ", ")) to \(file)") {
            try settings.write(to: file, group: getuid() == 0 ? getgrnam("chat").map { $0.pointee.gr_gid } : nil)
        }
    }

    private func nginxLines(_ publicURL: String) -> String {
        let path =
            publicURL.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false).dropFirst(3).first ?? ""
        let site =
            path.isEmpty
            ? "include /etc/nginx/chat/locations.conf;"
            : "include /etc/nginx/chat/server.conf; location /\(path)/ { include /etc/nginx/chat/prefixed.conf; }"
        return """
            nginx needs these lines, then `nginx -s reload`:
                http { …    include /etc/nginx/chat/upstreams.conf;
                server { …  \(site)
            """
    }
}

/// The list of completed steps, or of planned ones in a dry run.
final class SetupWork {
    let dryRun: Bool
    private(set) var done = 0

    init(dryRun: Bool) { self.dryRun = dryRun }

    /// - Parameter what: a verb phrase, for the operator.
    func does(_ what: String, _ act: () throws -> Void) throws {
        if !dryRun { try act() }
        done += 1
        print(dryRun ? "would \(what)" : "did: \(what)")
    }
}
