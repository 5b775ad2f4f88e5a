import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore

struct Dead: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List messages that could not be executed, try them again, or drop them.",
        subcommands: [List.self, Show.self, Retry.self, Drop.self])

    static func letters(_ settings: SettingsOption) throws -> RabbitMQDeadLetters {
        let settings = try settings.read()
        return RabbitMQDeadLetters(
            settings.rabbitMQ, name: "queue-worker dead", layout: PostgresQueueGenerations.lookUp(settings.database))
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List them, one line each, oldest first.")
        @OptionGroup var settings: SettingsOption

        func run() throws {
            var count = 0
            _ = try Dead.letters(settings).sort { letter in
                count += 1
                print(
                    "\(letter.id)  \(letter.time)  \(letter.queue)  \(printable(letter.what))  \(printable(letter.reason, atMost: 400))"
                )
                return .keep
            }
            if count == 0 { print("there are none") }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one message, with the stacks of the workers that it crashed.")
        @Argument(help: "Its id, from list.") var id: String
        @OptionGroup var settings: SettingsOption

        func run() throws {
            var found: DeadLetter?
            _ = try Dead.letters(settings).sort { letter in
                if letter.id.description == id { found = letter }
                return .keep
            }
            guard let found else { throw ValidationError("there is no dead letter \(id)") }
            print(found.report)
        }
    }

    struct Retry: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Return one, or all, to the queue.")
        @Argument(help: "Its id, or: all.") var id: String
        @OptionGroup var settings: SettingsOption

        func run() throws { try Dead.dispose(id, .retry, settings, said: "to be tried again") }
    }

    struct Drop: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete one, or all, for good.")
        @Argument(help: "Its id, or: all.") var id: String
        @OptionGroup var settings: SettingsOption

        func run() throws { try Dead.dispose(id, .drop, settings, said: "dropped") }
    }

    private static func dispose(
        _ id: String, _ fate: RabbitMQDeadLetters.Fate, _ settings: SettingsOption, said: String
    ) throws {
        let count = try letters(settings).sort { id == "all" || $0.id.description == id ? fate : .keep }
        guard count > 0 || id == "all" else { throw ValidationError("there is no dead letter \(id)") }
        print("\(count) \(said)")
    }
}

extension DeadLetter {
    fileprivate var commands: [Command] { (try? Command.decodeAll(body)) ?? [] }

    fileprivate var time: String {
        var text: [UInt8] = []
        appendTimestamp(at, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Never shows the content.
    fileprivate var what: String {
        commands.isEmpty ? "\(body.count) bytes" : commands.map(\.action.kind.name).joined(separator: ",")
    }

    fileprivate var report: String {
        let head = ["id: \(id)", "put aside: \(time)", "queue: \(queue)", "reason: \(reason)", "bytes: \(body.count)"]
        let about = commands.map {
            "command \($0.id): \($0.action.kind.name) in room \($0.room) by \($0.actor), request \($0.requestID ?? "-")"
        }
        return (head + about + [stack]).joined(separator: "\n")
    }
}
