import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess

struct KeysCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "Keys by which the host application acts for any user.",
        discussion: """
            A key is sent as Authorization: Bearer <key>, with X-Chat-User: <the user's id>. To rotate one, add another \
            under a new name, let the host use it, and revoke the first.
            """,
        subcommands: [Add.self, List.self, Revoke.self])

    private static func store(_ option: SettingsOption) throws -> PostgresKeys {
        PostgresKeys(PostgresConnection(try option.read().database, applicationName: FcgiApi.program))
    }

    private static func check(_ name: String) throws {
        guard ServerKey.isName(name) else {
            throw ValidationError("--name takes 1 to 64 letters, digits, dots, hyphens and underscores")
        }
        // The audit log could not distinguish the two.
        guard !areSameBytes(name, HostKeys.settingName) else {
            throw ValidationError("--name \(name) is the name of the key in the settings: choose another")
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key and print it. It is shown only once, since only its hash is stored.")

        @OptionGroup var settings: SettingsOption
        @Option(help: "The key's name in the audit log: 1 to 64 letters, digits, dots, hyphens and underscores.")
        var name: String
        @Option(help: "read, write, moderate or admin; each includes those before it.")
        var scope: String

        func run() throws {
            try KeysCommand.check(name)
            guard let scope = KeyScope(name: scope) else {
                throw ValidationError("--scope takes read, write, moderate or admin")
            }
            var random = SystemRandomNumberGenerator()
            let bytes = (0..<ServerKey.digits / 2).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            let text = ServerKey.prefix + hex(bytes)
            let store = try KeysCommand.store(settings)
            let isNew: Bool
            do throws(StoreError) {
                isNew = try store.add(ServerKey(name: name, scope: scope), hash: HostKeys.hash(text))
            } catch { throw OperatorError("no key was made: \(error)") }
            guard isNew else {
                throw OperatorError(
                    "no key was made: this name is in use, or there are \(ServerKey.limit) keys; revoke one first")
            }
            print(text)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the name, scope and age of every key, including revoked ones.")

        @OptionGroup var settings: SettingsOption

        func run() throws {
            let store = try KeysCommand.store(settings)
            let keys: [ServerKey]
            do throws(StoreError) { keys = try store.all() } catch {
                throw OperatorError("the keys cannot be read: \(error)")
            }
            for key in keys {
                let end = key.revokedAt.map { "revoked \(timestampText($0))" } ?? "in use"
                print("\(key.name) \(key.scope.name) made \(timestampText(key.createdAt)) \(end)")
            }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revoke a key: requests with it are refused within a second.")

        @OptionGroup var settings: SettingsOption
        @Option(help: "The key's name.")
        var name: String

        func run() throws {
            try KeysCommand.check(name)
            let store = try KeysCommand.store(settings)
            let wasInUse: Bool
            do throws(StoreError) { wasInUse = try store.revoke(name) } catch {
                throw OperatorError("nothing was revoked: \(error)")
            }
            guard wasInUse else { throw OperatorError("no key with the name \(name) is in use") }
            print("revoked")
        }
    }
}
