import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore

/// Commands for operators: webhooks that were given up.
struct Hooks: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Webhooks that the host application has not accepted after all tries.",
        subcommands: [List.self, Retry.self, Drop.self])

    private static func outbox(_ settings: SettingsOption) throws -> PostgresHookOutbox {
        let settings = try settings.read()
        return PostgresHookOutbox(
            PostgresConnection(settings.database, applicationName: "queue-worker hooks"))
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the oldest of them with their last errors.")
        @OptionGroup var settings: SettingsOption
        @Option(help: "The largest number of entries to show.") var limit = 100

        func run() throws {
            for hook in try Hooks.outbox(settings).dead(limit) {
                print(
                    "\(hook.key.text) \(hook.name): \(hook.attempts) tries, the last: \(printable(hook.lastError ?? "?"))"
                )
            }
        }
    }

    struct Retry: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Try all of them again, from the beginning.")
        @OptionGroup var settings: SettingsOption

        func run() throws { print("\(try Hooks.outbox(settings).retryDead()) will be tried again") }
    }

    struct Drop: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete all of them.")
        @OptionGroup var settings: SettingsOption

        func run() throws { print("\(try Hooks.outbox(settings).dropDead()) are deleted") }
    }
}
