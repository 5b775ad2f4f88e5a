import ChatCore

// The parts of the relay's connections that a hand-over needs.

protocol ReadableFeed: AnyObject {
    /// Waits until something can be read, at most this long.
    func wait(milliseconds: Int32)
    /// Handles some of the available input. False when nothing is left.
    func read(now: Int64, _ handle: (FeedEvent) -> Void) -> Bool
}

protocol DrainedOutlet: AnyObject {
    /// Every command was confirmed or refused.
    var isIdle: Bool { get }
    func waitABit()
}

protocol MarkerOutlet: AnyObject {
    func publish(_ answer: RelayAnswer, to relay: UInt64)
}

extension CommandPublisher: DrainedOutlet {}
extension Ephemerals: MarkerOutlet {}
