public import ChatCore
public import Logging

/// Publishes `user_updated` to the rooms of a user, outside of their order, like presence.
public final class RoomsOfUsers: UserNews {
    /// Users per second and process: after an upgrade or a new login page all users may get another name at once.
    private static let maxUsers = 20
    /// Rooms of one user that are told, and the most members of such a room.
    private static let maxRooms: Int64 = 100
    private static let maxMembers: Int32 = 100
    /// Changes of one user that are told in this period; later ones are seen with the user's next message.
    private static let maxChanges: Int64 = 5
    private static let period = Duration.seconds(5)

    private let users: any RoomsToTell
    private let redis: any RedisCommands
    private let clock: Clock
    private let log: Logger
    private var second: Int64 = 0
    private var told = 0
    private let suppressed: () -> Void

    /// - Parameter suppressed: called for each change that no room is told of.
    public convenience init(
        _ users: PostgresUsers, _ redis: RedisConnection, log: Logger, suppressed: @escaping () -> Void = {}
    ) {
        self.init(users, redis, clock: systemClock, log: log, suppressed: suppressed)
    }

    init(
        _ users: any RoomsToTell, _ redis: any RedisCommands, clock: @escaping Clock, log: Logger,
        suppressed: @escaping () -> Void
    ) {
        self.suppressed = suppressed
        self.users = users
        self.redis = redis
        self.clock = clock
        self.log = log
    }

    public func tell(_ ids: [UUID128]) {
        for id in ids {
            do { try tell(id, at: clock()) } catch {
                log.warning("rooms were not told of a changed user", metadata: ["error": "\(error)"])
                return
            }
        }
    }

    private func tell(_ id: UUID128, at now: Int64) throws {
        let key = RedisKey.userTold(id, now / Self.period.milliseconds)
        let counted = try redis.pipeline([["INCR", key].words, ["PEXPIRE", key, "\(Self.period.milliseconds)"].words])
        guard case .int(let changes)? = counted.first, changes <= Self.maxChanges, mayTell(at: now / 1000) else {
            return suppressed()
        }
        guard let (profile, rooms) = try users.told(of: id, rooms: Self.maxRooms, members: Self.maxMembers)
        else { return }
        _ = try redis.pipeline(
            rooms.map { room in
                let frame = RoomFrame(
                    seq: 0, kind: .userUpdated, body: FrameBody(room: room) { profile.write(as: id, to: &$0) })
                return ["PUBLISH", BusChannel.room(room)].words
                    + [FrameChunk(room: room, frames: [frame]).encode()]
            })
    }

    private func mayTell(at now: Int64) -> Bool {
        if now != second { (second, told) = (now, 0) }
        told += 1
        return told <= Self.maxUsers
    }
}

/// Finds the rooms that are told of a change; ``PostgresUsers`` does.
protocol RoomsToTell: AnyObject {
    /// The user's description, and some of their rooms without the large ones; nil: there is nothing to tell, or nobody.
    func told(of user: UUID128, rooms: Int64, members: Int32) throws(StoreError) -> (Profile, [UUID128])?
}

extension PostgresUsers: RoomsToTell {}
