/// An error from Redis or from the connection to it.
public struct RedisError: Error, CustomStringConvertible, Sendable {
    public let description: String
    /// The connection is no longer usable (as opposed to one command that Redis refused).
    public let isConnection: Bool

    public init(description: String, isConnection: Bool) {
        self.description = description
        self.isConnection = isConnection
    }
}

public enum RedisValue: Sendable, Equatable {
    case null
    case int(Int64)
    case bytes([UInt8])
    case status(String)
    case array([RedisValue])
    /// Redis refused this command.
    case error(String)

    public var bytes: [UInt8]? {
        guard case .bytes(let value) = self else { return nil }
        return value
    }

    public var array: [RedisValue]? {
        guard case .array(let value) = self else { return nil }
        return value
    }
}

/// One argument of a command.
public typealias RedisWord = [UInt8]

extension [UInt8] {
    public init(word: String) { self = Array(word.utf8) }
}

extension RedisError {
    /// This server is not a usable primary: a new connection may reach the primary.
    init?(elsewhere answer: String) {
        if ["MOVED", "ASK", "CLUSTERDOWN", "CROSSSLOT"].contains(where: { answer.utf8.starts(with: "\($0) ".utf8) }) {
            self = .cluster
        } else {
            self.init(unusable: answer)
        }
    }

    /// This server cannot carry out commands now.
    init?(unusable answer: String) {
        let kinds = ["READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "MISCONF", "NOREPLICAS"]
        guard kinds.contains(where: { answer.utf8.starts(with: "\($0) ".utf8) || answer.contains("-\($0) ") }) else {
            return nil
        }
        self.init(description: "Redis: \(answer)", isConnection: true)
    }

    static let cluster = RedisError(
        description: "Redis: this is a Redis Cluster: write its nodes as redis+cluster://host:port,host:port",
        isConnection: true)
}

extension RedisError {
    init(reason: String) { self.init(description: "Redis: \(reason)", isConnection: true) }

    /// The text without its "Redis: " prefix, for a list of several.
    var reason: String {
        description.utf8.starts(with: "Redis: ".utf8)
            ? String(decoding: Array(description.utf8.dropFirst("Redis: ".utf8.count)), as: UTF8.self) : description
    }
}
