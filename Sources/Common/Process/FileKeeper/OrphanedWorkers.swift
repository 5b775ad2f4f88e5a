import CLinux
import Glibc
import Logging

/// Finds in RUN_DIR the running workers of a killed master, and the file keepers of its dead ones. The first worker of
/// the same pool and slot adopts each.
extension Master {
    /// - Returns: the sockets on which they listen. No other process could bind these ports.
    func findOrphans() -> [Descriptor] {
        // Live workers come first, since they may be successors of the dead ones; newer come before older.
        let found = folder.keeperSockets().compactMap { place in
            connect(to: place.path).map {
                (place, $0, isAlive: Self.files(of: $0)?.worker(named: "\(place.pool)/\(place.slot)") != nil)
            }
        }
        for (place, keeper, _) in found.filter(\.isAlive) + found.filter({ !$0.isAlive }) {
            let adopts = specs.contains { $0.name == place.pool && $0.handover }
            guard adopts, let id = state.reserveFiles(in: place.pool, slot: place.slot, at: kernel.now) else {
                keeper.send("R")
                unlink(place.path)
                continue
            }
            (fileKeepers[id], keeperSockets[id]) = (keeper, place.path)
            log.notice("another master's worker is taken over", metadata: ["place": "\(place.pool)/\(place.slot)"])
        }
        return fileKeepers.values.flatMap { keeper -> [Descriptor] in
            let most = Int32(specs.map(\.listen.count).max() ?? 0)
            let files = Self.files(of: keeper)?.files((0..<most).map { WorkerChannel.firstListener + $0 }) ?? []
            return files.compactMap { $0.flatMap { try? Descriptor(high: $0, "keep a socket") } }
        }
    }

    private func connect(to path: String) -> DescriptorSocket? {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard let ours = try? Descriptor(high: socket, "connect to \(path)"),
            withUnixAddress(path, { Glibc.connect(ours.number, $0, $1) }) == 0
        else {
            unlink(path)
            return nil
        }
        ours.setNonBlocking()
        return DescriptorSocket(descriptor: ours)
    }

    private static func files(of keeper: DescriptorSocket) -> KeptFiles? {
        guard let ends = try? DescriptorSocket.pair() else { return nil }
        keeper.send("G", descriptor: ends.1.number)
        return KeptFiles(ends.0)
    }
}
