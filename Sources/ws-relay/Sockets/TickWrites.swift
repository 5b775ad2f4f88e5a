/// The frames of one tick and their receivers: one list per connection, over all its rooms, so that the end of the tick
/// makes one write of it. Eight bytes per delivery, in memory that is reused every tick.
final class TickWrites {
    /// Deliveries after which the tick should be flushed, between two events or two frames (`isFull`). One event may
    /// exceed it: the list grows, and shrinks again at the end of the tick.
    private let size: Int
    private var capacity: Int

    private struct Delivery: BitwiseCopyable {
        var frame: UInt32
        var next: UInt32
    }

    private(set) var frames: [SharedFrame] = []
    private var entries: UnsafeMutablePointer<Delivery>
    private var count = 0
    /// Connections with a list, oldest list first.
    private(set) var dirty: [UInt32] = []

    init(connections: Int, capacity: Int? = nil) {
        size = capacity ?? max(262_144, connections * 2)
        self.capacity = size
        entries = .allocate(capacity: size)
    }

    deinit { entries.deallocate() }

    /// The number that identifies the frame within this tick.
    func add(_ frame: SharedFrame) -> UInt32 {
        frames.append(frame)
        return UInt32(frames.count - 1)
    }

    var isFull: Bool { count >= size }

    @inline(__always)
    func push(_ frame: UInt32, to slot: UInt32, _ connections: ConnectionTable) {
        let row = connections.row(slot)
        guard row.pointee.descriptor >= 0 else { return }
        if count == capacity { grow() }
        let entry = UInt32(count)
        entries[count] = Delivery(frame: frame, next: noIndex)
        count += 1
        if row.pointee.flags.contains(.dirty) {
            entries[place(of: row.pointee.lastWrite)].next = entry
        } else {
            row.pointee.flags.insert(.dirty)
            row.pointee.firstWrite = entry
            dirty.append(slot)
        }
        row.pointee.lastWrite = entry
    }

    /// Lists are made of entries of this tick.
    @inline(__always)
    private func place(of entry: UInt32) -> Int {
        precondition(Int(entry) < count, "no delivery of this tick has this number")
        return Int(entry)
    }

    @inline(never)
    private func grow() { resize(to: capacity * 2) }

    private func resize(to new: Int) {
        let moved = UnsafeMutablePointer<Delivery>.allocate(capacity: new)
        moved.initialize(from: entries, count: count)
        entries.deallocate()
        (entries, capacity) = (moved, new)
    }

    @inline(__always)
    func frame(at entry: UInt32) -> SharedFrame { frames[Int(entries[place(of: entry)].frame)] }

    @inline(__always)
    func next(after entry: UInt32) -> UInt32 { entries[place(of: entry)].next }

    /// Clears a list that was written, queued or dropped.
    @inline(__always)
    func clear(_ slot: UInt32, _ connections: ConnectionTable) {
        let row = connections.row(slot)
        row.pointee.flags.remove(.dirty)
        row.pointee.firstWrite = noIndex
        row.pointee.lastWrite = noIndex
    }

    func takeDirty() -> [UInt32] {
        defer { dirty.removeAll(keepingCapacity: true) }
        return dirty
    }

    /// All lists are cleared: the memory is free for the next tick.
    func endTick() {
        frames.removeAll(keepingCapacity: frames.count <= 65_536)
        count = 0
        if capacity > size { resize(to: size) }
    }
}
