import ChatCore
import Logging

/// The first part of a hand-over, before any connection: the predecessor's relay id and the channels to subscribe to.
struct Inherited {
    /// The predecessor answers between two ticks.
    private static let answerLimit: Duration = .seconds(5)

    let channel: HandoffChannel
    /// The relay id in the predecessor's commands: ours from now on.
    let relayID: UInt64
    let users: [UUID128]
    let rooms: [UUID128]

    /// Throws when there is nothing to take over. After `refused` the predecessor, of an earlier release with another
    /// layout, cannot describe its state; it ends in order when the master asks. After any other error this process
    /// must end: the predecessor does not answer and keeps serving, or another process adopts its descriptors.
    init(_ channel: HandoffChannel, log: Logger) throws {
        self.channel = channel
        do {
            try channel.send(.init(tag: .prologue, bytes: HandoffChannel.offer))
            try channel.send(.init(tag: .hello, bytes: HandoffChannel.version))
            var state = StateReader(try Self.prologue(channel))
            relayID = try state.take()
            users = try state.takeArray()
            rooms = try state.takeArray()
        } catch HandoffChannel.Failure.refused {
            log.warning("the predecessor's layout is another one: its clients are told to reconnect, and resume here")
            throw HandoffChannel.Failure.refused
        } catch {
            log.error("the predecessor hands over nothing", metadata: ["error": "\(error)"])
            throw error
        }
    }

    private static func prologue(_ channel: HandoffChannel) throws(HandoffChannel.Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let packet = try channel.receive(within: answerLimit)
            switch packet.tag {
            case .end: return bytes
            case .prologue: bytes += packet.bytes
            case .refused: throw .refused
            default: throw .closed
            }
        }
    }
}
