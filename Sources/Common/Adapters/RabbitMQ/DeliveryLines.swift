/// Numbers the deliveries from several channels of one connection as if they came on one channel. Each queue has a
/// channel of its own, so that one queue can be left without affecting the others.
public struct DeliveryLines {
    /// The broker's limit is 2047 channels. Numbers below 3 are taken: commands and answers.
    static let first: UInt16 = 3
    static let last: UInt16 = 2000

    private struct Open {
        let number: UInt64
        let channel: UInt16
        let tag: UInt64
    }

    private var queues: [UInt16: String] = [:]
    private var unacknowledged: ArraySlice<Open> = []
    private var newest: UInt64 = 0
    private var nextChannel = Self.first

    public init() {}

    /// Numbers grow and are reused as late as possible, since deliveries of a closed channel may still be read.
    ///
    /// - Returns: nil when all are in use.
    mutating func open(_ queue: String) -> UInt16? {
        for _ in Self.first...Self.last {
            let channel = nextChannel
            nextChannel = channel == Self.last ? Self.first : channel + 1
            if queues[channel] == nil {
                queues[channel] = queue
                return channel
            }
        }
        return nil
    }

    /// - Returns: the queue's channel; nil when the queue is not consumed here.
    mutating func close(_ queue: String) -> UInt16? {
        guard let channel = queues.first(where: { $0.value == queue })?.key else { return nil }
        queues[channel] = nil
        unacknowledged.removeAll { $0.channel == channel }
        return channel
    }

    /// - Returns: the delivery's number; nil for one of a channel that was closed meanwhile.
    mutating func number(_ tag: UInt64, on channel: UInt16) -> UInt64? {
        guard queues[channel] != nil else { return nil }
        newest += 1
        unacknowledged.append(Open(number: newest, channel: channel, tag: tag))
        return newest
    }

    /// - Returns: the tag to acknowledge on each channel, which includes the smaller ones.
    mutating func finish(through number: UInt64) -> [UInt16: UInt64] {
        var tags: [UInt16: UInt64] = [:]
        while let first = unacknowledged.first, first.number <= number {
            tags[first.channel] = first.tag
            unacknowledged.removeFirst()
        }
        return tags
    }

    /// Queues are consumed on channels of their own.
    var isUsed: Bool { newest > 0 || !queues.isEmpty }
}
