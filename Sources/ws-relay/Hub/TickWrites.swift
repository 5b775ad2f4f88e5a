/// The frames of one tick and who gets them: a list for each connection, across all of its rooms, so that the end of
/// the tick makes one write of it. Eight bytes a delivery, in memory that is used again every tick.
final class TickWrites {
    /// Deliveries of one tick; when they are reached the tick flushes early. One frame to everybody always fits.
    private let capacity: Int

    private struct Entry: BitwiseCopyable {
        var frame: UInt32
        var next: UInt32
    }

    private(set) var frames: [SharedFrame] = []
    private let entries: UnsafeMutablePointer<Entry>
    private var count = 0
    /// Connections with a list, in the order in which they got it.
    private(set) var dirty: [UInt32] = []

    init(connections: Int) {
        capacity = max(262_144, connections * 2)
        entries = .allocate(capacity: capacity)
    }

    deinit { entries.deallocate() }

    /// The number by which the frame is pushed, in this tick.
    func add(_ frame: SharedFrame) -> UInt32 {
        frames.append(frame)
        return UInt32(frames.count - 1)
    }

    /// Deliveries that still have room before the tick must be flushed.
    var left: Int { capacity - count }

    @inline(__always)
    func push(_ frame: UInt32, to slot: UInt32, _ connections: ConnectionTable) {
        let entry = UInt32(count)
        entries[count] = Entry(frame: frame, next: noIndex)
        count += 1
        if connections[slot].flags.contains(.dirty) {
            entries[Int(connections[slot].lastWrite)].next = entry
        } else {
            connections[slot].flags.insert(.dirty)
            connections[slot].firstWrite = entry
            dirty.append(slot)
        }
        connections[slot].lastWrite = entry
    }

    @inline(__always)
    func frame(at entry: UInt32) -> SharedFrame { frames[Int(entries[Int(entry)].frame)] }

    @inline(__always)
    func next(after entry: UInt32) -> UInt32 { entries[Int(entry)].next }

    /// The list is written, queued or dropped.
    @inline(__always)
    func clear(_ slot: UInt32, _ connections: ConnectionTable) {
        connections[slot].flags.remove(.dirty)
        connections[slot].firstWrite = noIndex
        connections[slot].lastWrite = noIndex
    }

    func takeDirty() -> [UInt32] {
        defer { dirty.removeAll(keepingCapacity: true) }
        return dirty
    }

    /// Every list is cleared: the memory is free for the next tick.
    func endTick() {
        frames.removeAll(keepingCapacity: true)
        count = 0
    }
}
