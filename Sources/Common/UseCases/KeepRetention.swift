public import Logging

/// Removes what is older than the settings keep, room by room, through each room's own order.
public final class KeepRetention {
    private static let roomsAtOnce = 200
    /// Milliseconds that one part of a room may take.
    private static let patience = 30_000

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

    /// Through all rooms once. What fails is left to the next time.
    ///
    /// - Parameter goOn: asked between two parts.
    /// - Returns: messages that were removed.
    public func sweep(while goOn: () -> Bool) throws(StoreError) -> Int64 {
        var removed: Int64 = 0
        for (type, days) in settings.days where days > 0 {
            let before = time(ago: days)
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

    /// Rooms that were deleted long ago are removed for good: no order of theirs is left to go through.
    public func removeDeletedRooms(while goOn: () -> Bool) throws(StoreError) {
        guard settings.deletedDays > 0 else { return }
        let before = time(ago: settings.deletedDays)
        while goOn(), try host.removeDeletedRoom(before: before) {}
    }

    private func time(ago days: Int) -> Int64 { clock() - Int64(days) * 86_400_000 }

    private func purge(_ room: UUID128, _ before: Int64, _ goOn: () -> Bool) -> Int64 {
        var removed: Int64 = 0
        while goOn() {
            let now = clock()
            let command = Command(
                id: .v7(at: now), room: room, actor: .zero, acceptedAt: now, action: .purge(before: before))
            do throws(Refusal) {
                guard case .answered(let frame) = try queue.submit(command, timeout: Self.patience) else { break }
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
