import CLinux
import Glibc
import Logging

/// Finds in RUN_DIR what a killed master left: workers that are still running, or the descriptor holders of dead ones.
/// The first worker of the same pool and slot adopts each.
extension Master {
    /// - Returns: the sockets on which they listen. Nobody else could bind these ports.
    func findLeftovers() -> [Descriptor] {
        // Live workers before dead ones, whose successors they may be; newer before older.
        let found = folder.leftDoors().compactMap { door in
            knock(door.path).map {
                (door, $0, isAlive: Self.ask($0)?.survivor(named: "\(door.pool)/\(door.slot)") != nil)
            }
        }
        for (door, keeper, _) in found.filter(\.isAlive) + found.filter({ !$0.isAlive }) {
            let takes = specs.contains { $0.name == door.pool && $0.handover }
            guard takes, let id = state.leaveWreck(in: door.pool, slot: door.slot, at: monotonicNow()) else {
                keeper.send("R")
                unlink(door.path)
                continue
            }
            (keepers[id], doors[id]) = (keeper, door.path)
            log.notice("another master's worker is taken over", metadata: ["place": "\(door.pool)/\(door.slot)"])
        }
        return keepers.values.flatMap { keeper -> [Descriptor] in
            let most = Int32(specs.map(\.listen.count).max() ?? 0)
            let files = Self.ask(keeper)?.files((0..<most).map { WorkerChannel.firstListener + $0 }) ?? []
            return files.compactMap { $0.flatMap { try? Descriptor(high: $0, "keep a socket") } }
        }
    }

    private func knock(_ path: String) -> Channel? {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard let ours = try? Descriptor(high: socket, "connect to \(path)"),
            withUnixAddress(path, { connect(ours.number, $0, $1) }) == 0
        else {
            unlink(path)
            return nil
        }
        ours.setNonBlocking()
        return Channel(descriptor: ours)
    }

    private static func ask(_ keeper: Channel) -> Wreckage? {
        guard let ends = try? Channel.pair() else { return nil }
        keeper.send("G", descriptor: ends.1.number)
        return Wreckage(ends.0)
    }
}
