public import ChatCore

public final class RedisUserEvents: UserEvents {
    private let connection: RedisConnection

    public init(_ connection: RedisConnection) { self.connection = connection }

    public func tell(_ user: UUID128, _ event: UserEvent) throws(BusError) {
        do { try connection.command(["PUBLISH", BusChannel.user(user)].words + [event.encode()]) } catch {
            throw BusError(error.description)
        }
    }
}
