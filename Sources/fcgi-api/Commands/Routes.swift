import ArgumentParser
import ChatCommands
import ChatCore

/// Lists the names that a pool's `routes` may contain, and the pool that has each route.
struct RoutesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "routes", abstract: "List the routes that pools may claim, and the pool of each.")

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let table = PoolTable(try PoolFolder.pools(settings.read()))
        for family in PoolRoute.Family.allCases {
            print("\(family.rawValue)  \(table.words(for: family))")
            for route in PoolRoute.all where route.family == family {
                print("  \(route.name)  \(route.method) \(route.path)  \(table.words(for: route))")
            }
        }
    }
}
