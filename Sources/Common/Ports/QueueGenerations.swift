/// The agreement of all programs on the generations of command queues.
public protocol QueueGenerations: AnyObject {
    /// Where senders put commands; nil: none has been made yet.
    func newest() throws(StoreError) -> QueueLayout?
    /// Those that are not removed, oldest first.
    func all() throws(StoreError) -> [QueueGeneration]
    /// Makes `generation` the newest. Of two who try at once one does it; both find it made.
    func begin(_ layout: QueueLayout, setting: String) throws(StoreError)
    /// Nothing is sent to it any more, and its end marks are out.
    func close(_ generation: Int) throws(StoreError)
    /// The queue's end mark was met. When it was the last one, the generation is drained.
    func end(queue: Int, of generation: Int) throws(StoreError)
    func remove(_ generation: Int) throws(StoreError)
}

public struct QueueGeneration: Sendable, Equatable {
    public var layout: QueueLayout
    public var setting: String
    public var isClosed: Bool
    public var isDrained: Bool
    /// Drained so long ago that everybody has noticed: its queues can go.
    public var isForgotten: Bool

    public init(layout: QueueLayout, setting: String, isClosed: Bool, isDrained: Bool, isForgotten: Bool) {
        self.layout = layout
        self.setting = setting
        self.isClosed = isClosed
        self.isDrained = isDrained
        self.isForgotten = isForgotten
    }
}
