import ChatCore
import ChatProcess

/// Limits typing frames: one per second, user and room, only in rooms of bounded size, and within totals for the user
/// and this relay. Further frames are dropped: late typing is useless.
struct TypingLimit {
    /// A room with more members here gets no typing frames.
    private static let maxMembers = 256
    /// Frames per second of all users, and of one user, who types in a few rooms at most.
    private static let rate = 2000
    private static let rateOfUser = 10
    /// The time between two frames of a user in a room.
    private static let pause: Duration = .seconds(1)

    private struct Key: Hashable {
        var user: UUID128
        var room: UUID128
    }

    /// The time of each user's last frame in a room, within the last second.
    private var last: [Key: Int64] = [:]
    /// Each user's frames in this second.
    private var ofUser: [UUID128: Int] = [:]
    private var budget = rate

    /// Counts a frame; false: it must be dropped.
    ///
    /// - Parameters:
    ///   - members: the room's members on this relay.
    ///   - now: milliseconds.
    mutating func take(_ user: UUID128, in room: UUID128, members: Int, now: Int64) -> Bool {
        let key = Key(user: user, room: room)
        let own = ofUser[user] ?? 0
        guard members <= Self.maxMembers, budget > 0, own < Self.rateOfUser,
            now - (last[key] ?? 0) >= Self.pause.milliseconds
        else {
            return false
        }
        last[key] = now
        ofUser[user] = own + 1
        budget -= 1
        return true
    }

    mutating func everySecond(now: Int64) {
        budget = Self.rate
        ofUser.removeAll(keepingCapacity: true)
        last = last.filter { now - $0.value < Self.pause.milliseconds }
    }
}
