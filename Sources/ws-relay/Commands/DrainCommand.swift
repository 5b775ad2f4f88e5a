import ArgumentParser
import ChatCommands
import ChatCore
import ChatProcess
import Glibc

/// `ws-relay drain`: this machine's clients go to another one, and no new ones come.
struct DrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Send this machine's clients to another one, without one disconnect.",
        discussion: """
            Clients that understand the frame "move" open their next socket first and close this one when they have \
            everything. The others get an orderly close, and resume elsewhere. New clients are answered 503, so that nginx \
            takes them to another host. The drain stays in force, over reloads and upgrades too, until --stop or a restart.
            """)

    @OptionGroup var settings: SettingsOption
    @Option(
        help: ArgumentHelp(
            """
            Where the clients go: ws:// or wss:// with the path, without a query. Without it they come by the address \
            that they used, which must lead to another host.
            """, valueName: "url"))
    var to: String?
    @Option(help: ArgumentHelp("Sockets a second.", valueName: "n"))
    var rate = 100
    @Option(
        help: ArgumentHelp("A client that was told and is still here after this time is closed.", valueName: "seconds"))
    var within = 30
    @Flag(help: "Return when no socket is left.") var wait = false
    @Flag(help: "Keep the sockets that are still here, and take new ones again.") var stop = false
    @Flag(help: "Only say how far it is.") var status = false

    func validate() throws {
        guard !(stop && status), !(stop && wait) else {
            throw ValidationError("give one of --stop, --status and --wait")
        }
        guard MoveOrder.rates.contains(rate) else { throw ValidationError("--rate is from 1 to 100000") }
        guard MoveOrder.times.contains(within) else { throw ValidationError("--within is from 5 to 3600 seconds") }
        if let to, let problem = MoveOrder.problem(with: to) { throw ValidationError("--to \(problem)") }
        if stop || status, to != nil { throw ValidationError("--to is for a drain that begins") }
    }

    func run() throws {
        let folder = RunFolder(try settings.read().runDirectory, program: WsRelay.program)
        func ask(_ text: String) throws -> String {
            try askMaster("drain \(WsRelay.mainPool ?? "") \(text)", in: folder)
        }
        let order = MoveOrder(rate: rate, within: within, url: to)
        var said = try ask(stop ? "stop" : status ? "status" : order.text)
        guard wait else { return print(said, terminator: "") }
        while said.hasPrefix("draining") {
            usleep(500_000)
            said = try ask("status")
        }
        print(said, terminator: "")
        if !said.hasPrefix("drained") { throw ExitCode(1) }
    }
}
