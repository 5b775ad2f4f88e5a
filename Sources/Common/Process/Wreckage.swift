import CLinux
import Glibc

/// A worker's descriptors, requested by the numbers that they have there: of a dead worker, or of one whose master is
/// dead. They stay open until the requester's own master knows that it is ready.
public final class Wreckage {
    /// Milliseconds: the descriptor holder has nothing else to do.
    private static let patience: Int32 = 2000
    /// Descriptors per request; the kernel allows 253 per message.
    private static let files = 200

    private let keeper: Descriptor

    /// - Parameter keeper: `WorkerChannel.wreck`.
    public convenience init(_ keeper: Int32) { self.init(Descriptor(keeper)) }

    init(_ keeper: Descriptor) { self.keeper = keeper }

    /// The file that the dead worker had as `WorkerChannel.keepsake`.
    public func keepsake() -> Int32? { ask([-1])?.first }

    /// The worker itself, when only its master is dead.
    public func survivor(named name: String) -> Survivor? {
        ask([-2])?.first.flatMap { Survivor(line: $0, named: name) }
    }

    /// The descriptors with these numbers, in order; nil for a closed one. The caller closes them.
    public func files(_ numbers: [Int32]) -> [Int32?] {
        stride(from: 0, to: numbers.count, by: Self.files).flatMap { start -> [Int32?] in
            let some = Array(numbers[start..<min(start + Self.files, numbers.count)])
            // A closed one makes the whole request fail: ask for each by itself then.
            return ask(some) ?? some.map { ask([$0])?.first }
        }
    }

    private func ask(_ numbers: [Int32]) -> [Int32]? {
        let size = numbers.count * MemoryLayout<Int32>.size
        guard send(keeper.number, numbers, size, Int32(MSG_NOSIGNAL)) == size else { return nil }
        var polls = [pollfd(fd: keeper.number, events: Int16(POLLIN), revents: 0)]
        guard poll(&polls, 1, Self.patience) > 0 else { return nil }
        var word: UInt8 = 0
        var found = [Int32](repeating: -1, count: 250)
        var count: Int32 = 0
        guard chat_receive_fds(keeper.number, &word, 1, &found, &count) > 0 else { return nil }
        guard Int(count) == numbers.count else {
            found.prefix(Int(count)).forEach { close($0) }
            return nil
        }
        return Array(found.prefix(numbers.count))
    }
}
