import ChatCore
import Logging

/// What a successor learns first, before it connects to anything: the predecessor's name, and which channels to hear.
struct Inherited {
    /// Milliseconds: the predecessor answers between two ticks.
    private static let limit: Int32 = 5000

    let channel: HandoffChannel
    /// The name that the predecessor's commands carry: ours from now on.
    let relayID: UInt64
    let users: [UUID128]
    let rooms: [UUID128]

    /// Throws when there is nothing to take over: the predecessor is of another version, or does not answer. It serves
    /// on, or its wreck is another process's to salvage; this one must end.
    init(_ channel: HandoffChannel, log: Logger) throws {
        self.channel = channel
        do {
            try channel.send(.init(tag: .hello, bytes: HandoffChannel.version))
            var state = StateReader(try Self.prologue(channel))
            relayID = try state.take()
            users = try state.takeArray()
            rooms = try state.takeArray()
        } catch {
            log.error("the predecessor hands nothing over", metadata: ["error": "\(error)"])
            throw error
        }
    }

    private static func prologue(_ channel: HandoffChannel) throws(HandoffChannel.Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let packet = try channel.receive(milliseconds: limit)
            switch packet.tag {
            case .end: return bytes
            case .prologue: bytes += packet.bytes
            case .refused: throw .refused
            default: throw .closed
            }
        }
    }
}
