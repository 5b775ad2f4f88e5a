/// The generations of command queues, on which all programs agree.
public protocol QueueGenerations: AnyObject {
    /// The generation to which senders publish; nil when none exists yet.
    func newest() throws(StoreError) -> QueueLayout?
    /// All generations that are not removed, oldest first.
    func all() throws(StoreError) -> [QueueGeneration]
    /// Makes `generation` the newest. Of two concurrent calls only one has an effect, and both succeed.
    func begin(_ layout: QueueLayout, setting: String) throws(StoreError)
    /// Records that the newest generation corresponds to these settings.
    func adopt(_ setting: String, for generation: Int) throws(StoreError)
    /// Nothing is published to it any more, and its end marks have been sent.
    func close(_ generation: Int) throws(StoreError)
    /// A worker has reached the queue's end mark. The last one marks the generation as drained.
    func end(queue: Int, of generation: Int) throws(StoreError)
    func remove(_ generation: Int) throws(StoreError)
}

public struct QueueGeneration: Sendable, Equatable {
    public var layout: QueueLayout
    public var setting: String
    public var isClosed: Bool
    public var isDrained: Bool
    /// Drained long enough ago for every program to have noticed: its queues can be deleted.
    public var isForgotten: Bool

    public init(layout: QueueLayout, setting: String, isClosed: Bool, isDrained: Bool, isForgotten: Bool) {
        self.layout = layout
        self.setting = setting
        self.isClosed = isClosed
        self.isDrained = isDrained
        self.isForgotten = isForgotten
    }
}
