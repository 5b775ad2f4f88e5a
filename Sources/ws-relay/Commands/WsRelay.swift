import ArgumentParser
import ChatCommands
import ChatCore
import ChatProcess
import Logging

@main
struct WsRelay: ParsableCommand, MasterProgram {
    static let program = "ws-relay"
    static let mainPool: String? = "sockets"
    static let counters = Hub.counterNames
    static let histograms = RelayTimings.names

    static let configuration = CommandConfiguration(
        commandName: program,
        abstract: "Holds the clients' WebSockets, forwards their commands and delivers every room's frames in order.",
        version: chatVersion,
        subcommands: [
            ServeCommand<WsRelay>.self, WorkerCommand<WsRelay>.self, StatusCommand<WsRelay>.self,
            ScaleCommand<WsRelay>.self,
            DrainCommand.self,
        ])

    static func main() { runProgram() }

    /// A worker is ready when Redis has answered, which may be long after its start: Redis may be down.
    static func pools(_ settings: Settings) throws -> [PoolSpec] {
        [
            PoolSpec(
                name: "sockets", workers: settings.relay.processes,
                listen: [
                    try ListenAddress(
                        parsing: settings.relay.listen, mode: UInt32(settings.socketMode), group: settings.socketGroup)
                ], handover: true,
                startLimit: .seconds(86_400), stopLimit: settings.relay.drainTime + .seconds(20),
                hangLimit: settings.hangLimit)
        ]
    }

    static func work(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws {
        try Relay(settings, channel).run()
    }
}
