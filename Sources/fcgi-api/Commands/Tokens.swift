import ArgumentParser
import ChatAdapters
import ChatCore

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Make JWTs with JWT_SECRET, for tests and for a host without its own.",
        subcommands: [Issue.self, Init.self])

    struct Issue: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print one token.")

        @OptionGroup var settings: SettingsOption
        @Option(help: "The user's UUID.")
        var user: String
        @Option(parsing: .unconditional, help: "Seconds until it expires; negative: expired already, for tests.")
        var ttl: Int64 = 86_400
        @Option(help: "The user's name, for people who read tokens.")
        var name: String?

        func run() throws {
            guard let id = UUID128(user) else { throw ValidationError("\(user) is no UUID") }
            print(try JWTTokens(try settings.read().tokens).issue(user: id, lifetime: ttl, name: name))
        }
    }

    struct Init: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print tokens of the seed's users, for development.")

        @OptionGroup var settings: SettingsOption
        @Option(help: "Seconds until they expire.")
        var ttl: Int64 = 30 * 86_400

        func run() throws {
            let tokens = try JWTTokens(try settings.read().tokens)
            for user in SeedUser.all {
                print("\(user.name) \(user.id) \(try tokens.issue(user: user.id, lifetime: ttl, name: user.name))")
            }
        }
    }
}

/// The users that `migrate seed` and `token init` know: always the same, of nobody.
struct SeedUser {
    let name: String
    let id: UUID128

    static let all = ["alice", "bob", "carol", "dave"].enumerated().map { index, name in
        SeedUser(name: name, id: UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_0001 + UInt64(index)))
    }
}
