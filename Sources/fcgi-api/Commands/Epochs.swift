import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess

struct EpochCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "epoch", abstract: "Tell clients that history was lost.", subcommands: [Bump.self])

    struct Bump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give every room another epoch: clients drop their copies.",
            discussion: """
                Run this after a restore from a backup, before you start the programs: from then on Seqs that clients have \
                seen are given a second time. Running programs keep the epochs that they have read.
                """)

        @OptionGroup var settings: SettingsOption

        func run() throws {
            let database = try settings.read().database
            // The statement changes every room, so it may take long.
            let connection = PostgresConnection(
                database, applicationName: "fcgi-api epoch", statementTimeout: .seconds(3600), way: .direct)
            do throws(StoreError) {
                print("rooms with another epoch: \(try PostgresEpochs(connection).bump())")
            } catch {
                throw OperatorError("no epoch was changed: \(error)")
            }
        }
    }
}
