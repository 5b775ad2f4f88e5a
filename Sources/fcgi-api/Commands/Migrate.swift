import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess
import Logging

struct Migrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the database's tables to this version, or revert them.",
        subcommands: [Up.self, Down.self, State.self, Seed.self])

    static func migrations(_ settings: Settings) -> PostgresMigrations {
        PostgresMigrations(connection(settings), directory: settings.database.migrationsDirectory)
    }

    /// A migration may rewrite a table: its limit is an hour, not a request's seconds.
    static func connection(_ settings: Settings) -> PostgresConnection {
        PostgresConnection(
            settings.database, applicationName: "fcgi-api migrate", statementTimeout: .seconds(3600), way: .direct)
    }

    struct Up: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Apply all missing migrations.")
        @OptionGroup var settings: SettingsOption

        func run() throws {
            let settings = try self.settings.read()
            var done = try Migrate.migrations(settings).up().map { "applied \($0)" }
            try PostgresInstallation(Migrate.connection(settings)).keep(userNamespace: settings.tokens.userNamespace)
            let language = settings.database.searchLanguage
            if try PostgresSearchLanguage(Migrate.connection(settings)).use(language) {
                done.append("search now uses the language \(language)")
            }
            print(done.isEmpty ? "nothing to do" : done.joined(separator: "\n"))
        }
    }

    struct Down: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revert the newest migration. Its data is lost.")
        @OptionGroup var settings: SettingsOption

        func run() throws {
            let done = try Migrate.migrations(try settings.read()).down()
            print(done.map { "reverted \($0)" } ?? "nothing to do")
        }
    }

    struct State: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "List the migrations and whether they are applied.")
        @OptionGroup var settings: SettingsOption

        func run() throws {
            for version in try Migrate.migrations(try settings.read()).status() {
                print("\(version.isApplied ? "applied" : "missing") \(version.name)")
            }
        }
    }

    /// Changes go through the command queue, so queue-worker must be running.
    struct Seed: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Create a few sample rooms and messages. queue-worker must be running; a second run changes nothing."
        )
        @OptionGroup var settings: SettingsOption

        func run() throws {
            let settings = try self.settings.read()
            let database = settings.database
            let queue = RabbitMQCommandQueue(
                settings.rabbitMQ, name: "fcgi-api seed", newestLayout: { PostgresQueueGenerations.lookUp(database) },
                log: Logger(label: "fcgi-api"))
            let people = SeedUser.all
            let others = people.dropFirst().map(\.id)
            let kitchen = RoomDraft(type: .group, name: "Kitchen", members: others)
            let group = try room(queue, people[0].id, "seed group", kitchen)
            _ = try room(queue, people[0].id, "seed channel", RoomDraft(type: .channel, name: "News", members: others))
            for (index, text) in ["Good morning", "Who is making coffee?", "I am", "Thank you!"].enumerated() {
                let send = Command.Action.send(MessageDraft(content: text), receiver: nil)
                _ = try submit(queue, group, people[index % people.count].id, "seed \(index)", send)
            }
            print("seeded; fcgi-api token init prints tokens of its users")
        }

        private func room(
            _ queue: RabbitMQCommandQueue, _ owner: UUID128, _ sign: String, _ draft: RoomDraft
        ) throws -> UUID128 {
            let answer = try submit(queue, .v7(at: systemClock()), owner, sign, .createRoom(draft))
            guard let id = answer["ID"]?.string.flatMap({ UUID128($0) }) else {
                throw OperatorError("the answer to a new room has no ID")
            }
            return id
        }

        private func submit(
            _ queue: RabbitMQCommandQueue, _ room: UUID128, _ actor: UUID128, _ sign: String, _ action: Command.Action
        ) throws -> WireValue {
            let now = systemClock()
            let id = if case .createRoom = action { room } else { UUID128.v7(at: now) }
            let command = Command(id: id, room: room, actor: actor, sign: sign, acceptedAt: now, action: action)
            do {
                guard case .answered(let frame) = try queue.submit(command, timeout: .seconds(10)) else {
                    throw OperatorError("no answer within 10 s: start queue-worker, then seed again")
                }
                guard frame["Success"]?.bool == true else {
                    throw OperatorError(frame["Error"]?.string ?? "refused")
                }
                return frame["Data"] ?? .null
            } catch let refusal as Refusal { throw OperatorError(refusal.message) }
        }
    }
}
