import ChatCore

/// The generations of queues, as PostgreSQL records them.
final class MemoryGenerations: QueueGenerations {
    var known: [QueueGeneration] = []
    var failure: StoreError?
    /// How often all were read.
    var readings = 0
    var beforeBegin: () -> Void = {}
    var afterReading: () -> Void = {}
    private var ended: [Int: Set<Int>] = [:]

    init(_ layouts: (QueueLayout, setting: String)...) {
        known = layouts.map {
            QueueGeneration(layout: $0.0, setting: $0.setting, isClosed: false, isDrained: false, isForgotten: false)
        }
    }

    private func check() throws(StoreError) { if let failure { throw failure } }

    private func change(_ generation: Int, _ body: (inout QueueGeneration) -> Void) {
        guard let index = known.firstIndex(where: { $0.layout.generation == generation }) else { return }
        body(&known[index])
    }

    func newest() throws(StoreError) -> QueueLayout? { try all().last?.layout }

    func all() throws(StoreError) -> [QueueGeneration] {
        try check()
        readings += 1
        defer { afterReading() }
        return known
    }

    func begin(_ layout: QueueLayout, setting: String) throws(StoreError) {
        try check()
        beforeBegin()
        guard !known.contains(where: { $0.layout.generation >= layout.generation }) else { return }
        known.append(
            QueueGeneration(layout: layout, setting: setting, isClosed: false, isDrained: false, isForgotten: false))
    }

    func adopt(_ setting: String, for generation: Int) throws(StoreError) {
        try check()
        change(generation) { $0.setting = setting }
    }

    func close(_ generation: Int) throws(StoreError) {
        try check()
        change(generation) { $0.isClosed = true }
    }

    func end(queue: Int, of generation: Int) throws(StoreError) {
        try check()
        ended[generation, default: []].insert(queue)
        change(generation) { if ended[generation]!.count == $0.layout.total { $0.isDrained = true } }
    }

    func remove(_ generation: Int) throws(StoreError) {
        try check()
        known.removeAll { $0.layout.generation == generation }
    }

    func forget(_ generation: Int) { change(generation) { $0.isForgotten = true } }
}
