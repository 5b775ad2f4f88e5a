import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Issue JWTs with JWT_SECRET, for tests and for hosts that issue none; revoke any issuer's tokens.",
        subcommands: [Issue.self, Init.self, Revoke.self])

    struct Issue: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print one token.")

        @OptionGroup var settings: SettingsOption
        @Option(help: "The user's id: a UUID, or any text of 1 to 128 bytes.")
        var user: String
        @Option(parsing: .unconditional, help: "Seconds until it expires; negative: expired already, for tests.")
        var ttl: Int64 = 86_400
        @Option(help: "The token's `name` claim.")
        var name: String?

        func run() throws {
            do { _ = try HostUser(user) } catch { throw ValidationError("--user names no user: it \(error.text)") }
            print(try JWTTokens(try settings.read().tokens).issue(subject: user, lifetime: ttl, name: name))
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

extension TokenCommand {
    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revoke one token, or all tokens of a user.",
            discussion: "REST refuses them and open sockets close with 4001 within a second, even without Redis.")

        @OptionGroup var settings: SettingsOption
        @Option(help: "The user's id, in either form: revokes all tokens issued until now.")
        var user: String?
        @Option(help: "The token's jti.")
        var jti: String?
        @Option(help: "Days to keep the revocation: no token may live longer.")
        var days = 366

        func run() throws {
            let settings = try self.settings.read()
            HostUser.namespace = settings.tokens.userNamespace
            let subject = try self.subject()
            let database = settings.database
            let connection = PostgresConnection(database, applicationName: FcgiApi.program)
            do throws(StoreError) { try PostgresRevocations(connection).revoke(subject, days: days) } catch {
                throw OperatorError("nothing was revoked: \(error)")
            }
            print("revoked")
        }

        private func subject() throws -> Revocation.Subject {
            guard (1...36_500).contains(days) else { throw ValidationError("--days takes 1 to 36500") }
            switch (user, jti) {
            case (let text?, nil):
                do { return .user(try HostUser(text).id, before: systemClock()) } catch {
                    throw ValidationError("--user names no user: it \(error.text)")
                }
            case (nil, let id?) where !id.isEmpty: return .token(id)
            default: throw ValidationError("give --user or --jti")
            }
        }
    }
}

/// The fixed test users of `migrate seed` and `token init`; no person owns them.
struct SeedUser {
    let name: String
    let id: UUID128

    static let all = ["alice", "bob", "carol", "dave"].enumerated().map { index, name in
        SeedUser(name: name, id: UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_0001 + UInt64(index)))
    }
}
