public import ChatCore

/// One bounded stream: relays append, and the workers of webhooks take entries away.
public final class RedisUserNews: UserNewsFeed {
    /// Entries, approximately. Relays that are ahead of the workers drop the oldest.
    private static let length = 10_000
    private let connection: RedisConnection

    public init(_ connection: RedisConnection) { self.connection = connection }

    public static func words(_ item: UserNewsItem) -> [RedisWord] {
        [
            "XADD", RedisKey.userNews, "MAXLEN", "~", "\(length)", "*", "u", "\(item.user)", "k", item.kind.rawValue,
            "t",
            "\(item.at)",
        ].words
    }

    public func read(_ most: Int) throws(BusError) -> [(id: String, item: UserNewsItem)] {
        let reply: RedisValue
        do {
            reply = try connection.command(["XRANGE", RedisKey.userNews, "-", "+", "COUNT", "\(most)"].words)
        } catch { throw BusError(error.description) }
        return (reply.array ?? []).compactMap { entry in
            guard let parts = entry.array, parts.count == 2, let id = parts[0].bytes else { return nil }
            let fields = (parts[1].array ?? []).map { String(decoding: $0.bytes ?? [], as: UTF8.self) }
            // An entry that cannot be read is dropped with the others.
            let item = Self.item(fields) ?? UserNewsItem(user: .zero, kind: .offline, at: 0)
            return (String(decoding: id, as: UTF8.self), item)
        }
    }

    private static func item(_ fields: [String]) -> UserNewsItem? {
        guard fields.count == 6, let user = UUID128(fields[1]), let kind = UserNewsItem.Kind(rawValue: fields[3]),
            let at = Int64(fields[5])
        else { return nil }
        return UserNewsItem(user: user, kind: kind, at: at)
    }

    public func drop(_ ids: [String]) throws(BusError) {
        guard !ids.isEmpty else { return }
        do { try connection.command((["XDEL", RedisKey.userNews] + ids).words) } catch {
            throw BusError(error.description)
        }
    }
}
