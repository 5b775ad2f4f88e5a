public import ChatCore
public import Logging

/// Publishes `user_updated` to the rooms of a user, outside of their order, as presence is.
public final class RoomsOfUsers: UserNews {
    /// Users of one call; the rooms of each; and the members of a room that is told.
    private static let mostUsers = 20
    private static let mostRooms: Int64 = 100
    private static let mostMembers: Int32 = 100
    /// Milliseconds between two of one user: what changes in between is seen with the user's next message.
    private static let pause = 1000

    private let users: PostgresUsers
    private let redis: RedisConnection
    private let log: Logger

    public init(_ users: PostgresUsers, _ redis: RedisConnection, log: Logger) {
        self.users = users
        self.redis = redis
        self.log = log
    }

    public func tell(_ ids: [UUID128]) {
        for id in ids.prefix(Self.mostUsers) {
            do { try tell(id) } catch {
                log.warning("rooms were not told of a changed user", metadata: ["error": "\(error)"])
                return
            }
        }
    }

    private func tell(_ id: UUID128) throws {
        guard let (profile, rooms) = try users.told(of: id, rooms: Self.mostRooms, members: Self.mostMembers),
            case .status = try redis.command(
                ["SET", RedisKey.userTold(id), "1", "NX", "PX", "\(Self.pause)"].words)
        else { return }
        _ = try redis.pipeline(
            rooms.map { room in
                let frame = RoomFrame(
                    seq: 0, kind: .userUpdated, body: FrameBody(room: room) { profile.write(as: id, to: &$0) })
                return ["PUBLISH", RedisKey.roomChannel(room)].words
                    + [FrameChunk(room: room, frames: [frame]).encode()]
            })
    }
}
