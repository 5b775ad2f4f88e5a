/// The sockets that an ending relay still has to close, spread evenly over some time.
struct Drain {
    private var handles: ArraySlice<UInt64> = []
    private var total = 0
    private var begun: Int64 = 0
    private var lasts: Int64 = 0

    init() {}

    /// Times in milliseconds.
    init(handles: [UInt64], begun: Int64, lasts: Int64) {
        (self.handles, total) = (handles[...], handles.count)
        (self.begun, self.lasts) = (begun, lasts)
    }

    /// The sockets that are due; each is returned once.
    mutating func due(at now: Int64) -> ArraySlice<UInt64> {
        let share = lasts == 0 ? total : Int(Int64(total) * (now - begun + 1) / lasts)
        let count = min(max(0, share - (total - handles.count)), handles.count)
        defer { handles = handles.dropFirst(count) }
        return handles.prefix(count)
    }
}
