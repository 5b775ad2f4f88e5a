public import ChatCore

/// `trail`: one bounded stream of ``TrailStep``s for all rooms.
public final class RedisTrail {
    /// Entries per read.
    private static let page = 500
    private let connection: any RedisCommands

    public init(_ connection: any RedisCommands) { self.connection = connection }

    /// - Parameter length: steps that the stream keeps, approximately.
    public static func words(_ step: TrailStep, length: Int) -> [RedisWord] {
        ["XADD", RedisKey.trail, "MAXLEN", "~", "\(length)", "*", "s"].words + [step.encode()]
    }

    /// Visits all steps, newest first, until `visit` returns that it has enough.
    public func walk(_ visit: (TrailStep) -> Bool) throws(RedisError) {
        var end = "+"
        while true {
            let reply = try connection.command(["XREVRANGE", RedisKey.trail, end, "-", "COUNT", "\(Self.page)"].words)
            let entries = reply.array ?? []
            for entry in entries {
                guard let fields = entry.array, fields.count == 2, let id = fields[0].bytes else { continue }
                end = "(" + String(decoding: id, as: UTF8.self)
                guard let bytes = fields[1].array?.last?.bytes, let step = TrailStep.decode(bytes) else { continue }
                guard visit(step) else { return }
            }
            if entries.count < Self.page { return }
        }
    }
}
