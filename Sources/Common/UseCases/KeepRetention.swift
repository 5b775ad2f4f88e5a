public import Logging

/// Removes messages older than the retention settings allow, room by room, through each room's command queue.
public final class KeepRetention {
    private static let roomsAtOnce = 200
    /// How long one part of a room may take.
    private static let timeout = Duration.seconds(30)

    private let host: any HostStore
    private let queue: any CommandQueue
    private let settings: RetentionSettings
    private let clock: Clock
    private let log: Logger

    public init(
        host: any HostStore, queue: any CommandQueue, settings: RetentionSettings, clock: @escaping Clock, log: Logger
    ) {
        self.host = host
        self.queue = queue
        self.settings = settings
        self.clock = clock
        self.log = log
    }

    /// Visits all rooms once. A failed room is left for the next run.
    ///
    /// - Parameter goOn: asked between two parts.
    /// - Returns: the number of removed messages.
    public func sweep(while goOn: () -> Bool) throws(StoreError) -> Int64 {
        var removed: Int64 = 0
        for case (let type, let time?) in settings.times {
            let before = clock() - time.milliseconds
            var after = UUID128.zero
            while goOn() {
                let rooms = try host.rooms(type, withMessagesBefore: before, after: after, limit: Self.roomsAtOnce)
                guard let last = rooms.last else { break }
                for room in rooms where goOn() { removed += purge(room, before, goOn) }
                after = last
            }
        }
        return removed
    }

    /// Removes rooms that were deleted long ago. They have no order left, so this bypasses the command queue.
    public func removeDeletedRooms(while goOn: () -> Bool) throws(StoreError) {
        guard let time = settings.deletedTime else { return }
        let before = clock() - time.milliseconds
        while goOn(), try host.removeDeletedRoom(before: before) {}
    }

    /// Removes what a killed import has begun. Nobody has seen it, and until then a pair meets `busy` for its room.
    public func removeBegunRooms(while goOn: () -> Bool) throws(StoreError) {
        while goOn(), try host.removeBegunRoom() {}
    }

    private func purge(_ room: UUID128, _ before: Int64, _ goOn: () -> Bool) -> Int64 {
        var removed: Int64 = 0
        while goOn() {
            let now = clock()
            let command = Command(
                id: .v7(at: now), room: room, actor: .zero, acceptedAt: now, action: .purge(before: before))
            do throws(Refusal) {
                guard case .answered(let frame) = try queue.submit(command, timeout: Self.timeout) else { break }
                removed += frame["Data"]?["Messages"]?.int ?? 0
                guard frame["Data"]?["More"]?.bool == true else { break }
            } catch {
                log.notice("a room was not purged", metadata: ["room": "\(room)", "error": "\(error.text)"])
                break
            }
        }
        return removed
    }
}
